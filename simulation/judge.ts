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

/** What applications and services were promised and did not get, in words. A record may stand twice, as in Kafka. */
export function judge (
  devices: readonly Device[], service: Service, { complaints }: Operator, published: readonly Published[],
  redelivered: ReadonlySet<string>
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
    faults.push(...downlinkFaults(device, service.queued.get(userId) ?? [], redelivered))
    faults.push(...signalFaults(device, service.signalled.get(userId) ?? new Set()))
  }
  return faults
}

/** Whoever reads `uplinks` by cursors has read every one. */
export function unread ({ seen, holes }: Consumer, published: readonly Published[]): string | undefined {
  const last = published.find(({ userId, userSeq }) => userSeq > (seen.get(userId) ?? 0))
  if (!last || holes > 0) return undefined // it has been told that some are gone
  const { userId, userSeq } = last
  return `whoever reads uplinks has read ${seen.get(userId) ?? 0} of ${userId}, and not ${userSeq}`
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

function downlinkFaults (device: Device, queued: readonly string[], redelivered: ReadonlySet<string>): string[] {
  const faults: string[] = []
  const places = new Map(queued.map((messageId, i) => [messageId, i]))
  for (const [i, run] of device.runs.entries()) {
    const fault = runFault(run, places, redelivered)
    if (fault !== undefined) faults.push(`${device.name}, run ${i + 1}, ${fault}`)
  }
  return faults
}

/** In one run each comes once, and in the order of the requests but for what somebody has asked for again. */
function runFault (
  { seen }: Run, places: ReadonlyMap<string, number>, redelivered: ReadonlySet<string>
): string | undefined {
  const before = new Set<string>()
  let last = -1
  for (const messageId of seen) {
    const place = places.get(messageId)
    if (place === undefined) return `got ${messageId}, which nobody has queued`
    if (before.has(messageId)) return `got ${messageId} twice`
    before.add(messageId)
    if (redelivered.has(messageId)) continue
    if (place < last) return `got ${messageId} after ${[...places.keys()][last]}`
    last = place
  }
  return undefined
}

/** A signal comes at most once, and to those alone whom it was sent to. */
function signalFaults ({ name, runs }: Device, signalled: ReadonlySet<string>): string[] {
  const faults: string[] = []
  const before = new Set<string>()
  for (const messageId of runs.flatMap(({ signals }) => signals)) {
    if (!signalled.has(messageId)) faults.push(`${name} got the signal ${messageId}, which nobody has sent it`)
    if (before.has(messageId)) faults.push(`${name} got the signal ${messageId} twice`)
    before.add(messageId)
  }
  return faults
}
