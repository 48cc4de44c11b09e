import type { FastifyRequest } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { JsonPayload } from '../../schemas/payload.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { filterItemsMax, offlineAfterMsMax, ttlMsDefault, ttlMsMax } from '../downlink-command.js'
import { decodePayload, payloadSchema } from './payload.js'
import { idSchema, platformSchema, serviceSchema } from './shapes.js'

/* What a downlink says and which sessions of its users get it, in JSON: whatever names the users. */

export interface DownlinkMessage {
  readonly messageId?: string
  readonly service: string
  readonly payload: JsonPayload
  readonly ttlMs: number
  readonly delivery: DownlinkCommand['delivery']
  readonly platforms: readonly string[]
  readonly exceptDevices: readonly string[]
  readonly devices: readonly string[]
  readonly receipts: boolean
  readonly offlineAfterMs?: number
  readonly replaces?: string
}

export const messageSchema = {
  type: 'object',
  required: ['payload'],
  additionalProperties: false,
  properties: {
    messageId: { ...idSchema, description: 'idempotency key within each user; drawn where it is absent' },
    service: { ...serviceSchema, default: '' },
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
      items: platformSchema,
      default: [],
      description: 'only to sessions of these; empty for all',
    },
    devices: {
      type: 'array',
      maxItems: filterItemsMax,
      items: idSchema,
      default: [],
      description: 'only to these devices; empty for all',
    },
    exceptDevices: {
      type: 'array',
      maxItems: filterItemsMax,
      items: idSchema,
      default: [],
      description: 'not to these devices, also where `devices` names them',
    },
    receipts: {
      type: 'boolean',
      default: true,
      description: 'the stream `receipts` tells how it ends on each device',
    },
    offlineAfterMs: {
      type: 'integer',
      minimum: 0,
      maximum: offlineAfterMsMax,
      description: 'after which it goes to the stream `offline` where no device has acked it; 0 for never; ' +
        'absent: LEDGERLINE_OFFLINE_AFTER_MS',
    },
    replaces: {
      ...idSchema,
      description: 'id of an earlier downlink, which is taken back for each user as it is recalled: where it waits ' +
        'without a number it is not sent any more, and this one is',
    },
  },
}

/** Whose trace the request is part of, for tracing/; nothing where it is of none. */
export function traceOf ({ headers: { traceparent } }: FastifyRequest): Pick<DownlinkCommand, 'traceparent'> {
  return typeof traceparent === 'string' ? { traceparent } : {}
}

/** @throws GatewayError `bad-request` where the payload is no base64 */
export function messageOf (message: DownlinkMessage, app: string): Omit<DownlinkCommand, 'userIds'> {
  const { messageId = randomUUID(), service, ttlMs, delivery, platforms, exceptDevices, devices } = message
  const { receipts, offlineAfterMs = -1, replaces = '' } = message
  const payload = decodePayload(message.payload)
  const filters = { platforms, exceptDevices, devices }
  return { messageId, app, service, payload, ttlMs, delivery, ...filters, receipts, offlineAfterMs, replaces }
}
