import type { Device, Run } from './device.js'
import type { Service } from './service.js'

/** A record of the stream `uplinks`. */
export interface Published { readonly payload: string, readonly userSeq: number }

/** What applications and services were promised and did not get, in words. A record may stand twice, as in Kafka. */
export function judge (devices: readonly Device[], service: Service, published: readonly Published[]): string[] {
  const byPayload = new Map<string, Set<number>>()
  for (const { payload, userSeq } of published) {
    const seqs = byPayload.get(payload) ?? new Set()
    byPayload.set(payload, seqs.add(userSeq))
  }
  const faults = [...service.complaints]
  for (const device of devices) {
    faults.push(...device.complaints.map(complaint => `${device.name} ${complaint}`))
    faults.push(...uplinkFaults(device, byPayload))
    faults.push(...downlinkFaults(device, service.queued.get(device.options.userId) ?? []))
  }
  return faults
}

function uplinkFaults (device: Device, byPayload: ReadonlyMap<string, ReadonlySet<number>>): string[] {
  const faults: string[] = []
  for (const [payload, accepted] of device.sent) {
    const seqs = [...byPayload.get(payload) ?? []]
    if (seqs.length > 1) faults.push(`"${payload}" was sent once and accepted as ${seqs.join(' and ')}`)
    if (!accepted) continue
    if (seqs.length === 0) faults.push(`"${payload}" was accepted, and never published`)
    else if (accepted.userSeq !== undefined && accepted.userSeq !== seqs[0]) {
      faults.push(`"${payload}" was told to be ${accepted.userSeq}, and was published as ${seqs[0]}`)
    }
  }
  return faults
}

function downlinkFaults (device: Device, queued: readonly string[]): string[] {
  const faults: string[] = []
  const places = new Map(queued.map((messageId, i) => [messageId, i]))
  for (const [i, run] of device.runs.entries()) {
    const fault = runFault(run, places)
    if (fault !== undefined) faults.push(`${device.name}, run ${i + 1}, ${fault}`)
  }
  return faults
}

/** In one run each comes once, and in the order of the requests. */
function runFault ({ seen }: Run, places: ReadonlyMap<string, number>): string | undefined {
  let last = -1
  for (const messageId of seen) {
    const place = places.get(messageId)
    if (place === undefined) return `got ${messageId}, which nobody has queued`
    if (place === last) return `got ${messageId} twice`
    if (place < last) return `got ${messageId} after ${[...places.keys()][last]}`
    last = place
  }
  return undefined
}
