import type { Moment } from '../evidence/moment.js'
import type { Change } from '../evidence/state-changes.js'
import type { StateView } from '../evidence/state.js'
import type { LogReader } from '../ledger/log.js'
import { timeText } from './moment.js'

/** What `ledgerline state` shows: a user's state, or a room's. */
export interface Shown<V extends AnyView> {
  /** Without which an answer about what changed does not say of whom. */
  readonly named: object
  at (log: LogReader, moment?: Moment): Promise<V>
  /** @param moment undefined for now */
  describe (view: V, moment: Moment | undefined): string
  changes (from: V, to: V): Change[]
  /** `no entry of the ledger is of a user ann` */
  unknown (isCut: boolean): string
  nameOf (view: V): string
}

export type AnyView = Pick<StateView, 'asOf' | 'knownSince'>

export function asOfText ({ asOf, knownSince }: AnyView): string {
  if (asOf) return `as of ${asOf.position}, ${timeText(asOf.atMs)}`
  return `before any entry${knownSince ? ' that is kept' : ''}`
}

export function knownText ({ knownSince }: AnyView, what = 'The ledger'): string[] {
  if (!knownSince) return []
  const { position, atMs } = knownSince
  return [`${what} is kept from ${position}${atMs === null ? '' : `, ${timeText(atMs)}`}: what was before is not known.`]
}
