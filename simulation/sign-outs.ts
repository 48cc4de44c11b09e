import type { EventLog } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import { ledger } from '../schemas/streams.js'
import type { Device } from './device.js'

/** A session that was ended for good. */
interface EndedSession {
  readonly userId: string
  readonly deviceId: string
  /** Ids of what was requested of the user before that. */
  readonly requested: ReadonlySet<string>
}

/** By the connection on which it was ended. */
export type EndedSessions = ReadonlyMap<string, EndedSession>

/** Of a user, as far as his ledger is read. */
interface Past {
  readonly requested: Set<string>
  /** By device: the connection that was opened last. */
  readonly latest: Map<string, string>
  readonly deviceOf: Map<string, string>
  readonly closed: Set<string>
}

export async function readEndedSessions (log: EventLog): Promise<EndedSessions> {
  const ended = new Map<string, EndedSession>()
  for (let partition = 0; partition < log.partitions(ledger); partition++) {
    const users = new Map<string, Past>()
    const { first } = await log.bounds(ledger, partition)
    for await (const { items } of log.read(ledger, partition, { from: first })) {
      for (const entry of items) {
        const past = users.get(entry.userId) ??
          { requested: new Set(), latest: new Map(), deviceOf: new Map(), closed: new Set() }
        users.set(entry.userId, past)
        const connectionId = take(past, entry)
        if (connectionId === undefined) continue
        const deviceId = past.deviceOf.get(connectionId)!
        ended.set(connectionId, { userId: entry.userId, deviceId, requested: new Set(past.requested) })
      }
    }
  }
  return ended
}

/** @returns the connection whose end is certainly that of its session: another one may have had it by then */
function take ({ requested, latest, deviceOf, closed }: Past, { fact }: Entry): string | undefined {
  switch (fact.type) {
    case 'DownlinkRequested': requested.add(fact.messageId); return undefined
    case 'ConnectionOpened':
      if (deviceOf.has(fact.connectionId)) return undefined // a repeat
      deviceOf.set(fact.connectionId, fact.deviceId)
      latest.set(fact.deviceId, fact.connectionId)
      return undefined
    case 'ConnectionClosed': {
      const { connectionId, endSession, told } = fact
      if (closed.has(connectionId)) return undefined // what comes first counts
      closed.add(connectionId)
      const device = deviceOf.get(connectionId)
      const isLatest = device !== undefined && latest.get(device) === connectionId
      return endSession && told && isLatest ? connectionId : undefined
    }
    default: return undefined
  }
}

/**
 * Whoever signs out has nothing waiting for him when he signs in again, and nobody else's session is ended.
 *
 * @param redelivered ids of downlinks that somebody has asked for again
 */
export function * signOutFaults (
  ended: EndedSessions, devices: readonly Device[], redelivered: ReadonlySet<string>
): Iterable<string> {
  for (const { name, signOuts, runs, options: { userId, deviceId } } of devices) {
    for (const { connectionId, runs: before } of signOuts) {
      const dropped = ended.get(connectionId)?.requested
      for (const messageId of runs.slice(before).flatMap(({ seen }) => seen)) {
        if (!dropped?.has(messageId) || redelivered.has(messageId)) continue
        yield `${name} got ${messageId}, from before it signed out`
      }
    }
    // Who moves says so on two connections, one of which he does not know yet.
    const ends = [...ended.values()].filter(each => each.userId === userId && each.deviceId === deviceId)
    if (ends.length > 0 && signOuts.length === 0) yield `a session of ${name} was ended, and nobody has signed out`
  }
}
