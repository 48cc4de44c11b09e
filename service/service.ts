import { randomUUID } from 'node:crypto'
import { type JsonPayload, payloadToJson } from '../schemas/payload.js'
import { ServiceGroup } from './group.js'
import { GatewayApi, type ServiceOptions } from './http.js'
import { pushMany } from './push-many.js'
import type { StreamName } from './records.js'
import { type CursorRecord, type ReadOptions, readStream } from './streams.js'

export { ServiceError, type ServiceOptions } from './http.js'
export type { GroupReadOptions, GroupRecord, ServiceGroup } from './group.js'
export type { AckOptions, Reply } from './replies.js'
export type { StreamHole, StreamName, StreamRecords } from './records.js'
export type { CursorRecord, ReadOptions, StreamFilter } from './streams.js'
export { verify, WebhookVerificationError, type WebhookEvent, type WebhookHeaders } from './webhooks.js'

/** What is sent to a user; text is sent as UTF-8. */
export interface DownlinkMessage {
  readonly payload: string | Uint8Array
  readonly service?: string
  /** Idempotency key within each user, so that a message is sent once; drawn where it is absent. */
  readonly messageId?: string
  readonly ttlMs?: number
  /** A signal goes to who is there, at most once. */
  readonly delivery?: 'durable' | 'signal'
  readonly platforms?: readonly string[]
  readonly devices?: readonly string[]
  readonly exceptDevices?: readonly string[]
  /** The stream `receipts` tells how it ends; true by default. */
  readonly receipts?: boolean
  /** It goes to the stream `offline` where no device has acked it for so long; 0 for never. */
  readonly offlineAfterMs?: number
  /** Id of an earlier one, which is taken back (docs/streams.md, Taking back). */
  readonly replaces?: string
}

/** What became of a message for one user (docs/protocol.md 5). */
export interface Pushed {
  readonly userId: string
  readonly status: 'queued' | 'duplicate' | 'conflict' | 'sent' | 'offline' | 'rejected'
  readonly position?: string
  /** What has become of the one that it `replaces`. */
  readonly replaced?: RecallOutcome
  readonly code?: string
}

/** What has become of a downlink that was to be taken back (docs/streams.md, Taking back). */
export type RecallOutcome = 'recalled' | 'written' | 'ended' | 'unknown'

export interface RecallOptions {
  /** Devices that may have it are told. */
  readonly notify?: boolean
  /** For whoever reads the trace. */
  readonly reason?: string
}

export interface Presence {
  readonly userId: string
  readonly online: boolean
  readonly sessions: ReadonlyArray<{
    readonly connectionId: string
    readonly deviceId: string
    readonly platform: string
    readonly nodeId: string
    readonly openedAtMs: number
  }>
  /** Null for a user who was never here. */
  readonly lastSeenAtMs: number | null
}

/** What a business service asks of a gateway. */
export class Service {
  readonly #api: GatewayApi

  constructor (options: ServiceOptions) { this.#api = new GatewayApi(options) }

  /**
   * Sends to some users, at most 1,000. Tried again under the same message id while no node takes it.
   *
   * @throws ServiceError
   */
  async push (userIds: readonly string[], message: DownlinkMessage): Promise<readonly Pushed[]> {
    const body = { to: { userIds }, ...bodyOf(message) }
    return (await this.#api.ask<{ users: Pushed[] }>('POST', '/v1/downlinks', body)).users
  }

  /**
   * Sends to any number of users, in one request that is answered while it goes on. After an error, send to those again
   * who were not told, under the same `messageId`.
   *
   * @param userIds read as fast as the gateway takes them
   * @throws ServiceError where the gateway refuses, or breaks off before it has told of all; what `userIds` throws
   */
  async * pushMany (
    message: DownlinkMessage, userIds: Iterable<string> | AsyncIterable<string>
  ): AsyncGenerator<Pushed> {
    yield * pushMany(this.#api, bodyOf(message), userIds)
  }

  /**
   * Takes a downlink back where no device can have it yet. Tried again while no node takes it, and done once.
   *
   * @throws ServiceError
   */
  async recall (userId: string, messageId: string, { notify = false, reason = '' }: RecallOptions = {}): Promise<RecallOutcome> {
    const query = new URLSearchParams({ userId, notify: String(notify), reason, requestId: randomUUID() })
    const path = `/v1/downlinks/${encodeURIComponent(messageId)}?${query}`
    return (await this.#api.ask<{ status: RecallOutcome }>('DELETE', path)).status
  }

  /** @throws ServiceError */
  async presence (userIds: readonly string[]): Promise<readonly Presence[]> {
    return (await this.#api.ask<{ users: Presence[] }>('POST', '/v1/presence', { userIds })).users
  }

  /** Puts a user into a room. @throws ServiceError */
  async joinRoom (userId: string, roomId: string, rights: 'r' | 'w' | 'rw' = 'rw'): Promise<void> {
    await this.#api.ask('PUT', membershipPath(userId, roomId), { rights, requestId: randomUUID() })
  }

  /** Takes a user out of a room. @throws ServiceError */
  async leaveRoom (userId: string, roomId: string): Promise<void> {
    await this.#api.ask('DELETE', membershipPath(userId, roomId))
  }

  /** Posts in a room, once for each `messageId`. @throws ServiceError */
  async post (
    roomId: string, message: Pick<DownlinkMessage, 'payload' | 'service' | 'messageId' | 'delivery'>
  ): Promise<{ readonly messageId: string, readonly status: string }> {
    return await this.#api.ask('POST', `/v1/rooms/${encodeURIComponent(roomId)}/posts`, bodyOf(message))
  }

  /** Records of a stream, from a cursor of yours on. @throws ServiceError where the gateway refuses */
  read<Name extends StreamName> (stream: Name, options?: ReadOptions): AsyncGenerator<CursorRecord<Name>> {
    return readStream(this.#api, stream, options)
  }

  /** A group of readers who share a stream, and whose place the gateway keeps. */
  group (name: string): ServiceGroup { return new ServiceGroup(this.#api, name) }
}

export function createService (options: ServiceOptions): Service { return new Service(options) }

function bodyOf (message: DownlinkMessage): { readonly messageId: string, readonly payload: JsonPayload } {
  const { payload, messageId = randomUUID() } = message
  return { ...message, messageId, payload: typeof payload === 'string' ? payload : payloadToJson(payload) }
}

function membershipPath (userId: string, roomId: string): string {
  return `/v1/users/${encodeURIComponent(userId)}/rooms/${encodeURIComponent(roomId)}`
}
