import { type LogReader, parsePosition } from '../ledger/log.js'
import { appOf, userIdOf, userInWords, userKey } from '../schemas/apps.js'
import { GatewayError } from '../schemas/errors.js'
import { partitionOf } from '../schemas/partitioning.js'
import { ledger } from '../schemas/streams.js'
import { ConnectionSubject } from './connection.js'
import { DownlinkSubject } from './downlink.js'
import { entriesOf } from './entries.js'
import { MembershipSubject } from './membership.js'
import { tracePost } from './rooms/trace.js'
import { surroundingsOf } from './surroundings.js'
import { EntryFailed, type Subject, trace, type Trace, type TraceRange } from './trace.js'
import { UplinkSubject } from './uplink.js'
import { anew } from './whole.js'

/** A downlink by its id, an uplink by its session and seq, a connection, or whether business has the user in a room. */
export type Inquiry =
  | { readonly messageId: string }
  | { readonly sessionId: string, readonly seq: number }
  | { readonly connectionId: string }
  | { readonly roomId: string }

/**
 * What became of a message, or of a connection, of one user.
 *
 * @throws GatewayError `bad-request` for a range with a position of another partition than the user's
 */
export async function inquire (
  log: LogReader, userId: string, inquiry: Inquiry, range: TraceRange = {}, nowMs = Date.now()
): Promise<Trace> {
  checkRange(log, userId, range)
  return await anew(() => inquireWhole(log, userId, inquiry, range, nowMs))
}

/** @throws GatewayError `bad-request` for a range with a position of another partition than the user's */
export function checkRange (log: LogReader, userId: string, { since, until }: TraceRange): void {
  const own = partitionOf(userId, log.partitions(ledger))
  for (const [name, moment] of Object.entries({ since, until })) {
    if (moment?.type !== 'position' || moment.position.partition === own) continue
    throw new GatewayError('bad-request',
      `${name}: got a position of partition ${moment.position.partition}, want one of ${own}, where the entries of ` +
      `${userInWords(userId)} are`)
  }
}

async function inquireWhole (
  log: LogReader, userId: string, inquiry: Inquiry, range: TraceRange, nowMs: number
): Promise<Trace> {
  const { until } = range
  const surroundings = await surroundingsOf(log, userId, until?.type === 'time' ? Math.min(until.atMs, nowMs) : nowMs)
  const { keptSince } = surroundings
  const from = keptSince === null ? 0n : parsePosition(keptSince.position).offset
  const setAside = new Set<string>()
  for (;;) {
    try {
      const subject = subjectOf(inquiry)
      const traced = await trace(userId, entriesOf(log, userId, { from }), subject, surroundings, range, setAside)
      if (!(subject instanceof UplinkSubject)) return traced
      return { ...traced, ...await postOf(log, userId, subject, range, nowMs) }
    } catch (err) {
      if (!(err instanceof EntryFailed)) throw err
      setAside.add(err.position)
    }
  }
}

/** A position of the ledger does not tell how far other streams were: what became of it there is left out then. */
async function postOf (
  log: LogReader, userId: string, { post }: UplinkSubject, { until }: TraceRange, nowMs: number
): Promise<Pick<Trace, 'post'>> {
  if (!post || until?.type === 'position') return {}
  const app = appOf(userId)
  const messageId = `${userIdOf(userId)}/${post.userSeq}`
  return { post: await tracePost(log, userKey(app, post.roomId), messageId, { until }, nowMs) }
}

function subjectOf (inquiry: Inquiry): Subject {
  if ('messageId' in inquiry) return new DownlinkSubject(inquiry.messageId)
  if ('connectionId' in inquiry) return new ConnectionSubject(inquiry.connectionId)
  if ('roomId' in inquiry) return new MembershipSubject(inquiry.roomId)
  return new UplinkSubject(inquiry.sessionId, inquiry.seq)
}
