import { payloadFromJson } from '../schemas/payload.js'
import type { NodeEntry } from '../schemas/node-facts.js'
import type {
  ConnectionEnded, DownlinkHandedOver, DownlinkRejected, DownlinkSettled, Posted, PresenceChanged, UplinkAccepted,
} from '../schemas/records.js'

/** Records of each stream (docs/streams.md). Users and rooms are named by their ids, and bytes are bytes. */
export interface StreamRecords {
  readonly uplinks: OfApp<UplinkAccepted>
  readonly connections: OfApp<ConnectionEnded>
  readonly presence: OfApp<PresenceChanged>
  readonly receipts: OfApp<DownlinkSettled>
  readonly offline: OfApp<DownlinkHandedOver>
  readonly posts: OfApp<Omit<Posted, 'from'> & { readonly from: string | null }>
  readonly 'downlinks.rejected': OfApp<DownlinkRejected>
  readonly nodes: NodeEntry
}

export type StreamName = keyof StreamRecords

/** `app` is absent for the default one. */
type OfApp<T> = T & { readonly app?: string }

/** What retention deleted before it was read: blocks of a partition from `from` up to but without `to`. */
export interface StreamHole { readonly partition: number, readonly from: string, readonly to: string }

const bytesFields = ['payload', 'command'] as const

/** A line of a stream, with its bytes as bytes. */
export function recordOf (line: Record<string, unknown>): Record<string, unknown> {
  for (const name of bytesFields) {
    const bytes = name in line ? payloadFromJson(line[name]) : undefined
    if (bytes) line[name] = bytes
  }
  return line
}
