import type { Links, LocalEnds, NotHere, SharedSignal } from '../actors/links.js'
import { isFor } from '../actors/user/messages.js'
import type { RecallOutcome } from '../actors/user/recall.js'
import { EncodeError } from '../ledger/encode-error.js'
import { type EventLog, formatPosition } from '../ledger/log.js'
import { appendInOrder, piecesOf } from '../ledger/pieces.js'
import { routingKey, type Route } from '../projections/routing.js'
import type { Tables } from '../projections/tables/tables.js'
import { userKey } from '../schemas/apps.js'
import { GatewayError } from '../schemas/errors.js'
import type { DownlinkRequested, Entry } from '../schemas/facts.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { DownlinkCommand } from '../schemas/records.js'
import { ledger } from '../schemas/streams.js'
import { KnownRequests } from './known-requests.js'
import type { StreamRules } from './stream-rules.js'

export interface PushDeps extends StreamRules {
  readonly log: EventLog
  readonly tables: Tables
  readonly links: Links & Pick<LocalEnds, 'notHere' | 'requestKnown'>
  readonly nodeId: string
  /** Bytes that an outbox in it may have: they go into the facts (docs/decisions/0002-rules-travel-in-facts.md). */
  outboxBytesMax (app: string): number
}

export interface PushAnswer {
  readonly messageId: string
  /** One for each user id, in the order of the request. */
  readonly users: readonly PushedUser[]
}

export interface PushedUser {
  readonly userId: string
  /**
   * `queued` durably in the ledger; a signal `sent` to an open connection; `offline`, a signal for nobody. The id was
   * had before: `duplicate` for the same payload and service, `conflict` for others; nothing is queued then.
   */
  readonly status: 'queued' | 'duplicate' | 'conflict' | 'sent' | 'offline' | 'rejected'
  /** Where the request stands in the ledger, `3@1021.4`. */
  readonly position?: string
  /** What has become of the downlink that this one replaces, where that was asked. */
  readonly replaced?: RecallOutcome
  /** Why it was rejected. */
  readonly code?: string
}

/** A command whose `userIds` are the users' keys. */
type KeyedCommand = DownlinkCommand

/** Requests of one partition, and the places of their users in the command. */
interface Batch { readonly partition: number, readonly places: number[], readonly entries: Entry[] }

/** A signal on its way to other nodes. */
interface Sent {
  readonly command: KeyedCommand
  /** Whose each connection is that it was sent to. */
  readonly users: Map<string, string>
}

/** A connection that is not where the table says is being resumed elsewhere: the table knows that a little later. */
const lookAgainMs = 500

/** The `push` role: turns what business services ask for into facts, or hands signals straight to the edges. */
export class Push {
  readonly #deps: PushDeps
  readonly #partitions: number
  readonly #sent = new WeakMap<SharedSignal, Sent>()
  /** What has been had before; of rooms as well. */
  readonly known: KnownRequests
  /** By app: users that requests have named. */
  readonly requested = new Map<string, number>()

  constructor (deps: PushDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(ledger)
    this.known = new KnownRequests(deps)
    deps.links.notHere = answer => { this.#lookAgain(answer) }
  }

  /**
   * @param tellsRepeats users who have had a request of this id are told from the others: `duplicate`, or `conflict`
   *   where it was for something else. It costs the way to their actors and back
   * @throws GatewayError `ledger-unavailable` where not one request was stored
   */
  async push (command: DownlinkCommand, tellsRepeats = false): Promise<PushAnswer> {
    const { app, userIds } = command
    this.#count(app, userIds.length)
    if (app === '') return await this.#push(command, tellsRepeats)
    const keyed = { ...command, userIds: userIds.map(userId => userKey(app, userId)) }
    const { messageId, users } = await this.#push(keyed, tellsRepeats)
    return { messageId, users: users.map((user, i) => ({ ...user, userId: userIds[i]! })) }
  }

  /**
   * Durable requests of one user, in order, in as few appends as have room for them.
   *
   * @returns how many of them are stored; those behind are not
   * @throws GatewayError where not one is: `ledger-unavailable`, `payload-too-large`
   */
  async pushInOrder (commands: readonly DownlinkCommand[]): Promise<number> {
    const { app, userIds } = commands[0]!
    this.#count(app, commands.length)
    const userId = userKey(app, userIds[0]!)
    const atMs = Date.now()
    const entries = commands.map(command => ({ userId, atMs, fact: this.#factOf(command) }))
    return await appendInOrder(this.#deps.log, ledger, partitionOf(userId, this.#partitions), entries)
  }

  #count (app: string, users: number): void { this.requested.set(app, (this.requested.get(app) ?? 0) + users) }

  async #push (command: KeyedCommand, tellsRepeats: boolean): Promise<PushAnswer> {
    const { messageId } = command
    if (command.delivery === 'signal') return { messageId, users: await this.#signal(command) }
    if (!tellsRepeats) return { messageId, users: await this.#request(command) }
    const known = await this.known.of(command)
    const userIds = command.userIds.filter((_, i) => known[i] === 'first')
    const requested = userIds.length === 0 ? [] : await this.#request({ ...command, userIds })
    let next = 0
    const users = command.userIds.map((userId, i): PushedUser => {
      const status = known[i]!
      return status === 'first' ? requested[next++]! : { userId, status }
    })
    return { messageId, users }
  }

  /**
   * One entry a user; those of one partition go one append after the other, each of a size that a block has room for:
   * a thousand large requests hold as much memory as there are partitions, and others' appends come between them.
   */
  async #request (command: KeyedCommand): Promise<PushedUser[]> {
    const { userIds } = command
    const fact = this.#factOf(command)
    const atMs = Date.now()
    const batches = new Map<number, Batch>()
    for (let i = 0; i < userIds.length; i++) {
      const userId = userIds[i]!
      const partition = partitionOf(userId, this.#partitions)
      let batch = batches.get(partition)
      if (!batch) batches.set(partition, batch = { partition, places: [], entries: [] })
      batch.places.push(i)
      batch.entries.push({ userId, atMs, fact })
    }
    const users = new Array<PushedUser>(userIds.length)
    const failures = await Promise.all(Array.from(batches.values(), batch => this.#appended(batch, users)))
    const failure = failures.find(failure => failure !== undefined)
    if (failure && users.every(({ status }) => status === 'rejected')) throw failure
    return users
  }

  #factOf (command: DownlinkCommand): DownlinkRequested {
    const { messageId, service, payload, ttlMs, platforms, exceptDevices, devices, replaces } = command
    const { outboxBytesMax, receipts } = this.#deps
    return {
      type: 'DownlinkRequested',
      messageId,
      service,
      payload,
      ttlMs,
      platforms,
      exceptDevices,
      devices,
      outboxBytesMax: outboxBytesMax(command.app),
      receipts: receipts && command.receipts,
      offlineAfterMs: this.#offlineAfterMs(command),
      replaces,
    }
  }

  #offlineAfterMs ({ offlineAfterMs }: DownlinkCommand): number {
    const { offlineAfterMs: configured } = this.#deps
    if (configured === undefined) return 0
    return offlineAfterMs < 0 ? configured : offlineAfterMs
  }

  /**
   * @param users gets the outcome of each of the batch's requests, in its place
   * @returns why some were not stored; what follows one that was not is not tried
   * @throws an error that nobody foresaw: it tells nothing of the requests
   */
  async #appended ({ partition, places, entries }: Batch, users: PushedUser[]): Promise<unknown> {
    let next = 0
    try {
      for (const piece of piecesOf(ledger, entries)) {
        const { offset, index } = await this.#deps.log.append(ledger, partition, piece)
        for (const [i, { userId }] of piece.entries()) {
          const position = formatPosition({ partition, offset, index: index + i })
          users[places[next++]!] = { userId, status: 'queued', position }
        }
      }
      return undefined
    } catch (err) {
      if (!(err instanceof GatewayError || err instanceof EncodeError)) throw err
      const code = err instanceof GatewayError ? err.code : 'internal'
      for (; next < places.length; next++) {
        users[places[next]!] = { userId: entries[next]!.userId, status: 'rejected', code }
      }
      return err
    }
  }

  /** To every open connection that the routing table knows; nothing is stored. */
  async #signal (command: KeyedCommand): Promise<PushedUser[]> {
    const { service, payload, userIds } = command
    const signal: SharedSignal = { service, payload, encoded: new Map() }
    this.#sent.set(signal, { command, users: new Map() })
    return await Promise.all(userIds.map(async userId =>
      ({ userId, status: await this.#signalTo(userId, signal) ? 'sent' as const : 'offline' as const })))
  }

  /** @returns whether it was sent to a connection that it had not been sent to before */
  async #signalTo (userId: string, signal: SharedSignal): Promise<boolean> {
    const { command, users } = this.#sent.get(signal)!
    let sent = false
    for (const [connectionId, { nodeId, platform, deviceId }] of await this.#row(userId)) {
      if (users.has(connectionId)) continue
      if (!isFor(command, { platform, deviceId })) continue
      users.set(connectionId, userId)
      this.#deps.links.toConnection({ type: 'signal', nodeId, connectionId, signal })
      sent = true
    }
    return sent
  }

  /** The route was stale. The connection that has taken its place gets the signal, if the table knows it soon. */
  #lookAgain ({ connectionId, signal }: NotHere): void {
    const userId = this.#sent.get(signal)?.users.get(connectionId)
    if (userId === undefined) return
    setTimeout(() => { this.#signalTo(userId, signal).catch(() => { /* at most once */ }) }, lookAgainMs)
  }

  /** Connection id to route. */
  #row (userId: string): Promise<ReadonlyMap<string, Route>> {
    return this.#deps.tables.get('routing', partitionOf(userId, this.#partitions), routingKey(userId))
  }
}
