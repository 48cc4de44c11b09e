import { formatPosition, type LogReader } from '../ledger/log.js'
import { shownUser } from '../schemas/apps.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'
import { type Beginning, beginningOf } from './beginning.js'
import { entriesOf } from './entries.js'
import type { Placed } from './trace.js'
import { anew } from './whole.js'

/** Something of a user that can be traced, with what names it. */
export type RecentItem = { readonly position: string, readonly atMs: number } & (
  | { readonly type: 'downlink', readonly messageId: string, readonly service: string }
  | { readonly type: 'uplink', readonly sessionId: string, readonly seq: number, readonly service: string }
  | {
    readonly type: 'connection',
    readonly connectionId: string,
    readonly deviceId: string,
    readonly platform: string
    /** How it ended; empty while it is open. */
    readonly code: string
  })

export interface Recent {
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  /** Newest first. */
  readonly items: readonly RecentItem[]
  /** How many more the ledger has. */
  readonly more: number
  /** No entry of the ledger is the user's. */
  readonly isUnknown: boolean
  /** Null where the ledger is kept from its very beginning. */
  readonly knownSince: Beginning | null
}

/**
 * What there is to trace of a user: downlinks that were requested, uplinks that came, connections that opened.
 *
 * @param itemsMax how many of them, the newest
 */
export async function recentOf (log: LogReader, userId: string, itemsMax: number): Promise<Recent> {
  return await anew(() => recentIn(log, userId, itemsMax))
}

async function recentIn (log: LogReader, userId: string, itemsMax: number): Promise<Recent> {
  const items: RecentItem[] = []
  const sessions = new Map<string, string>()
  const ends = new Map<string, string>()
  let total = 0
  let isUnknown = true
  for await (const placed of entriesOf(log, userId)) {
    isUnknown = false
    const { fact } = placed.entry
    if (fact.type === 'ConnectionOpened') sessions.set(fact.connectionId, fact.sessionId)
    else if (fact.type === 'ConnectionClosed' && !ends.has(fact.connectionId)) ends.set(fact.connectionId, fact.code)
    const item = itemOf(placed, sessions)
    if (item === undefined) continue
    items.push(item)
    total++
    if (items.length >= 2 * itemsMax) items.splice(0, itemsMax)
  }
  const newest = items.slice(-itemsMax).reverse().map(item =>
    item.type === 'connection' ? { ...item, code: ends.get(item.connectionId) ?? '' } : item)
  const knownSince = await beginningOf(log, partitionOf(userId, log.partitions(ledger)))
  return { ...shownUser(userId), items: newest, more: total - newest.length, isUnknown, knownSince }
}

/** @returns undefined for what can't be asked for */
function itemOf ({ position, entry }: Placed, sessions: ReadonlyMap<string, string>): RecentItem | undefined {
  const { fact, atMs } = entry
  const where = { position: formatPosition(position), atMs }
  switch (fact.type) {
    case 'DownlinkRequested': return { ...where, type: 'downlink', messageId: fact.messageId, service: fact.service }
    case 'UplinkReceived': {
      const { seq, service } = fact
      // Unknown where its connection opened before the ledger's beginning.
      const sessionId = sessions.get(fact.connectionId)
      return sessionId === undefined ? undefined : { ...where, type: 'uplink', sessionId, seq, service }
    }
    case 'ConnectionOpened': {
      const { connectionId, deviceId, platform } = fact
      return { ...where, type: 'connection', connectionId, deviceId, platform, code: '' }
    }
    default: return undefined
  }
}
