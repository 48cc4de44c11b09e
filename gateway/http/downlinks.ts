import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { errorAnswers } from './errors.js'
import type { JsonPayload } from '../../schemas/payload.js'
import { decodePayload, payloadSchema } from './payload.js'
import { textSchema, userIdLengthMax, userIdsMax, userIdsSchema } from './shapes.js'

export interface DownlinksOptions {
  /**
   * Resolves once every user's request is durable, or a signal was handed on.
   *
   * @throws GatewayError `ledger-unavailable` where nothing at all was stored
   */
  readonly push: (command: DownlinkCommand, tellsRepeats: boolean) => Promise<PushAnswer>
  readonly frameBytesMax: number
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
  /** Why it was rejected. */
  readonly code?: string
}

interface DownlinkBody {
  readonly to: { readonly userIds: readonly string[] }
  readonly messageId?: string
  readonly service: string
  readonly payload: JsonPayload
  readonly ttlMs: number
  readonly delivery: DownlinkCommand['delivery']
  readonly platforms: readonly string[]
  readonly exceptDevices: readonly string[]
  readonly devices: readonly string[]
}

const dayMs = 86_400_000

/** Bounds of a command; those of user ids are in shapes.ts. Lengths in characters. */
const messageIdLengthMax = 128
const serviceLengthMax = 128
export const ttlMsMax = 30 * dayMs
export const ttlMsDefault = 7 * dayMs
const filterItemsMax = 100
const platformLengthMax = 64
const deviceIdLengthMax = 128

const bodySchema = {
  type: 'object',
  required: ['to', 'payload'],
  additionalProperties: false,
  properties: {
    to: {
      type: 'object',
      required: ['userIds'],
      additionalProperties: false,
      properties: { userIds: userIdsSchema },
    },
    messageId: { ...textSchema(messageIdLengthMax, 1), description: 'idempotency key within each user; drawn where it is absent' },
    service: { ...textSchema(serviceLengthMax), default: '' },
    payload: payloadSchema,
    ttlMs: {
      type: 'integer',
      minimum: 1,
      maximum: ttlMsMax,
      default: ttlMsDefault,
      description: 'how long it is kept for delivery',
    },
    delivery: {
      type: 'string',
      enum: ['durable', 'signal'],
      default: 'durable',
      description: 'a signal is sent at most once and never stored',
    },
    platforms: {
      type: 'array',
      maxItems: filterItemsMax,
      items: textSchema(platformLengthMax, 1),
      default: [],
      description: 'only to sessions of these; empty for all',
    },
    devices: {
      type: 'array',
      maxItems: filterItemsMax,
      items: textSchema(deviceIdLengthMax, 1),
      default: [],
      description: 'only to these devices; empty for all',
    },
    exceptDevices: {
      type: 'array',
      maxItems: filterItemsMax,
      items: textSchema(deviceIdLengthMax, 1),
      default: [],
      description: 'not to these devices, also where `devices` names them',
    },
  },
}

const answerSchema = {
  type: 'object',
  required: ['messageId', 'users'],
  properties: {
    messageId: { type: 'string' },
    users: {
      type: 'array',
      items: {
        type: 'object',
        required: ['userId', 'status'],
        properties: {
          userId: { type: 'string' },
          status: { type: 'string', enum: ['queued', 'duplicate', 'conflict', 'sent', 'offline', 'rejected'] },
          position: { type: 'string', description: 'where the request stands in the ledger', examples: ['3@1021.4'] },
          code: { type: 'string', description: 'why it was rejected' },
        },
      },
    },
  },
}

/** `POST /v1/downlinks`: a message to some users, durable or at most once. */
export async function downlinksRoutes (app: FastifyInstance, options: DownlinksOptions): Promise<void> {
  app.post<{ Body: DownlinkBody }>('/v1/downlinks', {
    schema: {
      summary: 'Send to users',
      tags: ['messages'],
      body: bodySchema,
      response: {
        202: answerSchema,
        ...errorAnswers('bad-request', 'unauthorized', 'payload-too-large', 'overloaded', 'ledger-unavailable'),
      },
    },
  }, async (request, reply) => {
    const command = commandOf(request.body)
    const refusal = sizeRefusal(command, options.frameBytesMax)
    if (refusal) throw refusal
    return await reply.code(202).send(await options.push(command, request.body.messageId !== undefined))
  })
}

function commandOf (body: DownlinkBody): DownlinkCommand {
  const { to, messageId = randomUUID(), service, ttlMs, delivery, platforms, exceptDevices, devices } = body
  const payload = decodePayload(body.payload)
  return { messageId, userIds: to.userIds, service, payload, ttlMs, delivery, platforms, exceptDevices, devices }
}

/** Why a command that came as a record, past no JSON Schema, can never be sent; undefined where it can. */
export function refusalOf (command: DownlinkCommand, frameBytesMax: number): GatewayError | undefined {
  const { messageId, userIds, service, ttlMs, platforms, exceptDevices, devices } = command
  const wrong = [
    { is: userIds.length < 1 || userIds.length > userIdsMax, want: `userIds: want 1 to ${userIdsMax}` },
    { is: new Set(userIds).size < userIds.length, want: 'userIds: want each once' },
    { is: !areTexts(userIds, userIdsMax, userIdLengthMax), want: `userIds: want 1 to ${userIdLengthMax} characters` },
    { is: !isText(messageId, 1, messageIdLengthMax), want: `messageId: want 1 to ${messageIdLengthMax} characters` },
    { is: !isText(service, 0, serviceLengthMax), want: `service: want at most ${serviceLengthMax} characters` },
    { is: ttlMs < 1 || ttlMs > ttlMsMax, want: `ttlMs: want 1 to ${ttlMsMax}` },
    { is: !areTexts(platforms, filterItemsMax, platformLengthMax), want: filterWant('platforms', platformLengthMax) },
    { is: !areTexts(devices, filterItemsMax, deviceIdLengthMax), want: filterWant('devices', deviceIdLengthMax) },
    {
      is: !areTexts(exceptDevices, filterItemsMax, deviceIdLengthMax),
      want: filterWant('exceptDevices', deviceIdLengthMax),
    },
  ].find(({ is }) => is)
  return wrong ? new GatewayError('bad-request', wrong.want) : sizeRefusal(command, frameBytesMax)
}

function filterWant (field: string, lengthMax: number): string {
  return `${field}: want at most ${filterItemsMax}, each of 1 to ${lengthMax} characters`
}

function areTexts (items: readonly string[], itemsMax: number, lengthMax: number): boolean {
  return items.length <= itemsMax && items.every(item => isText(item, 1, lengthMax))
}

function isText (text: string, lengthMin: number, lengthMax: number): boolean {
  return text.length >= lengthMin && text.length <= lengthMax && !/\p{Surrogate}/u.test(text)
}

function sizeRefusal (command: DownlinkCommand, frameBytesMax: number): GatewayError | undefined {
  const bytes = downlinkBytesMax(command)
  if (bytes <= frameBytesMax) return undefined
  return new GatewayError('payload-too-large',
    `body/payload makes a downlink of ${bytes} bytes, and ${frameBytesMax} are the bound`)
}

/** The downlink frame at its longest: opcode, two longs of 10 bytes, three lengths of 5, and what they count. */
function downlinkBytesMax ({ messageId, service, payload }: DownlinkCommand): number {
  return 1 + 2 * 10 + 3 * 5 + Buffer.byteLength(messageId) + Buffer.byteLength(service) + payload.byteLength
}
