import { fold } from '../actors/user/fold.js'
import type { Membership } from '../actors/user/memberships.js'
import type { OutboxMessage } from '../actors/user/messages.js'
import { headSeq, missedOf, newUser, type Session, type UserState } from '../actors/user/state.js'
import { formatPosition, type LogReader, type Position } from '../ledger/log.js'
import { shownUser, userInWords } from '../schemas/apps.js'
import { GatewayError } from '../schemas/errors.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger, type Stream } from '../schemas/streams.js'
import { type Beginning, beginningOf } from './beginning.js'
import { entriesOf } from './entries.js'
import { isBehind, type Moment } from './moment.js'
import type { Placed } from './trace.js'
import { anew } from './whole.js'

/** A user's state as the fold had it, without the payloads. */
export interface StateView {
  /** Absent for the default one. */
  readonly app?: string
  readonly userId: string
  /** The last entry that it holds; null where there is none. */
  readonly asOf: { readonly position: string, readonly atMs: number } | null
  /** Where retention has deleted what was before: sessions that began then look as if they had begun later. */
  readonly knownSince: Beginning | null
  readonly userSeq: number
  /** In the order in which they began. */
  readonly sessions: readonly SessionView[]
  /** Those that are open, the oldest first. */
  readonly connections: readonly ConnectionView[]
  /** Downlinks for the first session to open. */
  readonly waiting: readonly KeptView[]
  /** Rooms that business has the user in, the one granted first first. */
  readonly memberships: readonly Membership[]
}

export interface SessionView {
  readonly deviceId: string
  readonly platform: string
  readonly sessionId: string
  /** Where downlinks go to; both empty while the device is offline. */
  readonly connectionId: string
  readonly nodeId: string
  readonly touchedAtMs: number
  /** Highest accepted uplink. */
  readonly uplinkSeq: number
  /** What the next downlink gets. */
  readonly nextSeq: number
  readonly ackedSeq: number
  /** Downlinks gone for good that the client was not told of. */
  readonly missed: number
  readonly outbox: readonly QueuedView[]
}

export interface ConnectionView {
  readonly connectionId: string
  readonly nodeId: string
  readonly deviceId: string
  readonly sessionId: string
}

export interface KeptView {
  readonly messageId: string
  readonly service: string
  readonly payloadBytes: number
  readonly requestedAtMs: number
  readonly expiresAtMs: number
}

/** In an outbox; `seq` is 0 until it has one, which it gets with the next connection. */
export interface QueuedView extends KeptView { readonly seq: number }

/**
 * What the user actor knew at a moment, by the fold that ran in production over the user's entries.
 *
 * @param moment by default the end of the ledger
 * @throws GatewayError `bad-request` for a position of another partition, or one that is not written yet; `not-found`
 *   for one that is no longer kept
 */
export async function stateAt (log: LogReader, userId: string, moment?: Moment): Promise<StateView> {
  const partition = partitionOf(userId, log.partitions(ledger))
  if (moment?.type === 'position') await checkPosition(log, ledger, userInWords(userId), partition, moment.position)
  return await anew(() => stateIn(log, userId, partition, moment))
}

async function stateIn (
  log: LogReader, userId: string, partition: number, moment: Moment | undefined
): Promise<StateView> {
  const state = newUser()
  let last: Placed | undefined
  for await (const placed of entriesOf(log, userId)) {
    if (moment && isBehind(moment, placed)) break
    fold(state, placed.entry)
    last = placed
  }
  const asOf = last ? { position: formatPosition(last.position), atMs: last.entry.atMs } : null
  return { ...shownUser(userId), asOf, knownSince: await beginningOf(log, partition), ...viewOf(state) }
}

/**
 * @param whose in words: whose entries are in partition `own`
 * @throws GatewayError as `stateAt`
 */
export async function checkPosition (
  log: LogReader, stream: Stream<any>, whose: string, own: number, { partition, offset }: Position
): Promise<void> {
  if (partition !== own) {
    throw new GatewayError('bad-request', `at: got a position of partition ${partition}, want one of ${own}, where ` +
      `the entries of ${whose} are`)
  }
  const { first, next } = await log.bounds(stream, own)
  if (offset >= next) {
    const what = stream === ledger ? 'the ledger' : `the stream ${stream.name}`
    throw new GatewayError('bad-request', `at: got ${own}@${offset}, and ${what} ends before ${own}@${next}`)
  }
  if (offset < first) throw new GatewayError('not-found', `at: ${own}@${offset} is no longer kept; ${own}@${first} is the first`)
}

function viewOf (
  state: UserState
): Pick<StateView, 'userSeq' | 'sessions' | 'connections' | 'waiting' | 'memberships'> {
  const connections: ConnectionView[] = []
  for (const [connectionId, { nodeId, deviceId, sessionId, open }] of state.connections) {
    if (open) connections.push({ connectionId, nodeId, deviceId, sessionId })
  }
  return {
    userSeq: state.userSeq,
    sessions: [...state.sessions.values()].map(session => sessionView(session, state)),
    connections,
    waiting: state.waiting.map(keptView),
    memberships: [...state.memberships.values()],
  }
}

function sessionView (session: Session, { connections }: UserState): SessionView {
  const { deviceId, platform, sessionId, connectionId, touchedAtMs, uplinkSeq, nextSeq, ackedSeq, numbered } = session
  const head = headSeq(session)
  return {
    deviceId,
    platform,
    sessionId,
    connectionId,
    nodeId: connections.get(connectionId)?.nodeId ?? '',
    touchedAtMs,
    uplinkSeq,
    nextSeq,
    ackedSeq,
    missed: missedOf(session),
    outbox: session.outbox.map((kept, i) => ({ seq: i < numbered ? head + i : 0, ...keptView(kept) })),
  }
}

function keptView ({ messageId, service, payloadBytes, requestedAtMs, expiresAtMs }: OutboxMessage): KeptView {
  return { messageId, service, payloadBytes, requestedAtMs, expiresAtMs }
}
