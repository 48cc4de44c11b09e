import { fold } from '../../actors/user/fold.js'
import { newUser } from '../../actors/user/state.js'
import { formatPosition, type LogReader } from '../../ledger/log.js'
import type { ConnectionOpened, UplinkReceived } from '../../schemas/facts.js'
import type { PostRequested } from '../../schemas/room-facts.js'
import { entriesOf } from '../entries.js'

/** The uplink that a post comes of. */
export interface Origin {
  /** In the ledger. */
  readonly position: string
  readonly atMs: number
  readonly uplink: UplinkReceived
  /** Undefined where that is no longer kept. */
  readonly opened: ConnectionOpened | undefined
}

/** @returns undefined where the entry that the post names is no longer kept, or is none of this user */
export async function originOf (
  log: LogReader, userKey: string, { ledgerOffset, ledgerIndex }: PostRequested
): Promise<Origin | undefined> {
  const openings = new Map<string, ConnectionOpened>()
  const offset = BigInt(ledgerOffset)
  for await (const { position, entry } of entriesOf(log, userKey, { to: offset + 1n })) {
    const { fact, atMs } = entry
    if (fact.type === 'ConnectionOpened') openings.set(fact.connectionId, fact)
    if (position.offset !== offset || position.index !== ledgerIndex || fact.type !== 'UplinkReceived') continue
    return { position: formatPosition(position), atMs, uplink: fact, opened: openings.get(fact.connectionId) }
  }
  return undefined
}

/** An uplink of a user by its number, as the fold accepts it. */
export interface AcceptedUplink { readonly position: string, readonly atMs: number, readonly uplink: UplinkReceived }

/** @returns undefined where what is kept of the ledger has none */
export async function acceptedUplink (
  log: LogReader, userKey: string, userSeq: number
): Promise<AcceptedUplink | undefined> {
  const state = newUser()
  for await (const { position, entry } of entriesOf(log, userKey)) {
    const { fact, atMs } = entry
    fold(state, entry)
    if (fact.type !== 'UplinkReceived' || state.userSeq !== userSeq) continue
    return { position: formatPosition(position), atMs, uplink: fact }
  }
  return undefined
}
