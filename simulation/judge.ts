import type { Consumer } from './consumer.js'
import type { Device, Run } from './device.js'
import type { Operator } from './operator.js'
import type { Service } from './service.js'

/** A record of the stream `uplinks`. */
export interface Published {
  readonly userId: string
  readonly payload: string
  readonly userSeq: number
  /** In which it is a post as well; empty for none. */
  readonly roomId: string
}

/**
 * What applications and services were promised and did not get, in words. A record may stand twice, as in Kafka.
 *
 * @param redelivered ids of downlinks that somebody has asked for again: they come at any place
 * @param replies by user, ids of downlinks that answered a webhook: who knows when each was stored
 */
export function judge (
  devices: readonly Device[], service: Service, { complaints }: Operator, published: readonly Published[],
  redelivered: ReadonlySet<string>, replies: ReadonlyMap<string, ReadonlySet<string>>
): string[] {
  const byPayload = new Map<string, Set<number>>()
  for (const { payload, userSeq } of published) {
    const seqs = byPayload.get(payload) ?? new Set()
    byPayload.set(payload, seqs.add(userSeq))
  }
  const faults = [...service.complaints, ...complaints]
  for (const device of devices) {
    faults.push(...device.complaints.map(complaint => `${device.name} ${complaint}`))
    faults.push(...uplinkFaults(device, byPayload))
    const { userId } = device.options
    const anywhere = new Set([...redelivered, ...replies.get(userId) ?? []])
    const queued = [...service.queued.get(userId) ?? [], ...replies.get(userId) ?? []]
    faults.push(...downlinkFaults(device, queued, anywhere))
    faults.push(...takenBackFaults(device, service.takenBack.get(userId) ?? new Set(), anywhere))
    faults.push(...signalFaults(device, service.signalled.get(userId) ?? new Set(), service.broadcasts))
  }
  return faults
}

/**
 * Whoever reads a stream by cursors has read every one.
 *
 * @param last by user or room, the highest number in the stream
 */
export function unread (
  { seen, holes, options: { of } }: Consumer, last: ReadonlyMap<string, number>
): string | undefined {
  if (holes > 0) return undefined // it has been told that some are gone
  for (const [whose, seq] of last) {
    const read = seen.get(whose) ?? 0
    if (read < seq) return `whoever reads ${of.name} has read ${read} of ${whose}, and not ${seq}`
  }
  return undefined
}

function uplinkFaults (device: Device, byPayload: ReadonlyMap<string, ReadonlySet<number>>): string[] {
  const faults: string[] = []
  for (const [payload, accepted] of device.sent) {
    const seqs = [...byPayload.get(payload) ?? []]
    if (device.forbidden.has(payload) && seqs.length > 0) faults.push(`"${payload}" was forbidden, and published`)
    if (seqs.length > 1) faults.push(`"${payload}" was sent once and accepted as ${seqs.join(' and ')}`)
    if (!accepted) continue
    if (seqs.length === 0) faults.push(`"${payload}" was accepted, and never published`)
    else if (accepted.userSeq !== undefined && accepted.userSeq !== seqs[0]) {
      faults.push(`"${payload}" was told to be ${accepted.userSeq}, and was published as ${seqs[0]}`)
    }
  }
  return faults
}

function downlinkFaults (device: Device, queued: readonly string[], anywhere: ReadonlySet<string>): string[] {
  const faults: string[] = []
  const places = new Map(queued.map((messageId, i) => [messageId, i]))
  for (const [i, run] of device.runs.entries()) {
    const fault = runFault(run, places, anywhere)
    if (fault !== undefined) faults.push(`${device.name}, run ${i + 1}, ${fault}`)
  }
  return faults
}

/** What was taken back from all devices is given to none, unless somebody has asked for it again. */
function takenBackFaults (
  { name, runs }: Device, takenBack: ReadonlySet<string>, anywhere: ReadonlySet<string>
): string[] {
  const got = runs.flatMap(({ seen }) => seen.filter(messageId => takenBack.has(messageId) && !anywhere.has(messageId)))
  return got.map(messageId => `${name} got ${messageId}, of which was said that no device gets it`)
}

/** In one run each comes once, and in the order of the requests but for what may come anywhere. */
function runFault (
  { seen }: Run, places: ReadonlyMap<string, number>, anywhere: ReadonlySet<string>
): string | undefined {
  const before = new Set<string>()
  let last = -1
  for (const messageId of seen) {
    const place = places.get(messageId)
    if (place === undefined) return `got ${messageId}, which nobody has queued`
    if (before.has(messageId)) return `got ${messageId} twice`
    before.add(messageId)
    if (anywhere.has(messageId)) continue
    if (place < last) return `got ${messageId} after ${[...places.keys()][last]}`
    last = place
  }
  return undefined
}

/** A signal comes at most once, and to those alone whom it was sent to; one to everybody once on each connection. */
function signalFaults (
  { name, runs }: Device, signalled: ReadonlySet<string>, broadcasts: ReadonlySet<string>
): string[] {
  const faults: string[] = []
  const before = new Set<string>()
  for (const { messageId, connectionId } of runs.flatMap(({ signals }) => signals)) {
    const isBroadcast = broadcasts.has(messageId)
    if (!isBroadcast && !signalled.has(messageId)) {
      faults.push(`${name} got the signal ${messageId}, which nobody has sent it`)
    }
    const one = isBroadcast ? `${messageId} ${connectionId}` : messageId
    if (before.has(one)) faults.push(`${name} got the signal ${messageId} twice`)
    before.add(one)
  }
  return faults
}
