import { randomUUID } from 'node:crypto'
import type { JsonPayload } from '../../schemas/payload.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { filterItemsMax, ttlMsDefault, ttlMsMax } from '../downlink-command.js'
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
  },
}

/** @throws GatewayError `bad-request` where the payload is no base64 */
export function messageOf (message: DownlinkMessage, app: string): Omit<DownlinkCommand, 'userIds'> {
  const { messageId = randomUUID(), service, ttlMs, delivery, platforms, exceptDevices, devices } = message
  const payload = decodePayload(message.payload)
  return { messageId, app, service, payload, ttlMs, delivery, platforms, exceptDevices, devices }
}
