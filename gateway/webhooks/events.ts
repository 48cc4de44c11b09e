import type { NodeEntry } from '../../schemas/node-facts.js'
import type { DownlinkHandedOver, DownlinkSettled, PresenceChanged } from '../../schemas/records.js'
import { type PublicStream, publicStreams } from '../streams/public.js'

/** What a record of each stream says has happened. A stream that is not here has no webhooks. */
const types: Readonly<Record<string, (item: any) => string>> = {
  uplinks: () => 'uplink.accepted',
  connections: () => 'connection.ended',
  presence: ({ change }: PresenceChanged) => `presence.${change}`,
  receipts: ({ outcome }: DownlinkSettled) => `downlink.${outcome}`,
  offline: ({ change }: DownlinkHandedOver) => `offline.${change}`,
  posts: () => 'room.posted',
  'downlinks.rejected': () => 'downlink.rejected',
  nodes: ({ fact }: NodeEntry) => `node.${wordsOf(fact.type)}`,
}

/** `NodeDrainReported` is `drain-reported`. */
function wordsOf (type: string): string {
  return type.replace(/^Node/, '').replace(/(?!^)[A-Z]/g, letter => `-${letter}`).toLowerCase()
}

/** Streams that a webhook may have, by name. */
export const webhookStreams: ReadonlyMap<string, PublicStream> = new Map(publicStreams
  .filter(({ stream: { name } }) => types[name] !== undefined)
  .map(of => [of.stream.name, of]))

/** One event, as JSON (docs/webhooks.md). */
export function eventOf (of: PublicStream, item: any, id: string, atMs: number): string {
  const type = types[of.stream.name]!(item)
  return JSON.stringify({ id, type, timestamp: new Date(atMs).toISOString(), data: of.view(item) })
}
