import type { DownlinkOutcome } from '../actors/user/effects.js'
import type { OutboxMessage } from '../actors/user/messages.js'
import { errorInWords } from '../schemas/errors.js'
import { endInWords, type Line, nameOf } from './lines.js'
import type { Surroundings } from './surroundings.js'
import { timeOf, type Verdict, whileOf } from './trace.js'

/** A downlink on its way to one device. */
export interface Delivery {
  readonly deviceId: string
  /** Of the operator who wanted it sent once more; empty for the first request. */
  readonly requestId: string
  readonly requestedAtMs: number
  readonly ttlMs: number
  /** As the fold holds it. */
  kept: OutboxMessage | undefined
  /** 0 until it has one. */
  seq: number
  /** The connections that it was sent to, in order. */
  readonly ways: Way[]
  settled?: {
    readonly atMs: number
    readonly outcome: DownlinkOutcome['outcome']
    /** A code; of one that was skipped, what its client says. */
    readonly reason: string
  }
}

export interface Way {
  readonly line: Line
  readonly sentAtMs: number
  writtenAtMs?: number
}

/**
 * What became of it on one device.
 *
 * @param last the device's last connection
 */
export async function verdictOfDelivery (
  delivery: Delivery, last: Line | undefined, surroundings: Surroundings
): Promise<Verdict> {
  const { deviceId, settled, ways, requestedAtMs, ttlMs } = delivery
  const current = ways.at(-1)
  if (settled?.outcome === 'acked' || settled?.outcome === 'skipped') return processed(delivery, settled)
  const so = whatHappened(delivery, last)
  const cause = ways[0] ? causeOf(ways[0]) : 'offline'
  if (settled?.outcome === 'expired') {
    return { code: 'expired', cause, text: `${deviceId}: ${so}; it expired at ${timeOf(settled.atMs)}.` }
  }
  if (settled) {
    const { reason, atMs } = settled
    return { code: reason, cause, text: `${deviceId}: ${so}; dropped at ${timeOf(atMs)}: ${errorInWords(reason)}.` }
  }
  const isOpen = current && endOf(current.line) === undefined
  if (isOpen) return await onItsWay(delivery, current, so, surroundings)
  const expiresAtMs = requestedAtMs + ttlMs
  if (expiresAtMs <= surroundings.nowMs) {
    const text = `${deviceId}: ${so}; its time to live was over at ${timeOf(expiresAtMs)}, and nobody gets it any more.`
    return { code: 'expired', cause, text }
  }
  const waits = 'it waits until the device connects again'
  if (!current) return { code: 'offline', cause: causeOfAbsence(last), text: `${deviceId}: ${so}; ${waits}.` }
  return { code: fateOf(current), cause: causeOf(current), text: `${deviceId}: ${so}; ${waits}.` }
}

function processed (
  { deviceId, ways, requestedAtMs }: Delivery, { atMs, outcome, reason }: NonNullable<Delivery['settled']>
): Verdict {
  const before = ways.slice(0, -1)
  const first = before[0]
  const tries = before.map(way => `${describe(way, 'not')}; `).join('')
  const what = outcome === 'acked'
    ? `acked at ${timeOf(atMs)}`
    : `the application failed at it${reason === '' ? '' : ` (${reason})`}, and went on without it at ${timeOf(atMs)}`
  const text = `${deviceId}: ${tries}${tries === '' ? '' : 'then '}${what}, ` +
    `${whileOf(atMs - requestedAtMs)} after the request.`
  return { code: outcome, cause: first ? causeOf(first) : '', text }
}

/** It was sent to a connection of which nobody has told the end. */
async function onItsWay (
  { deviceId }: Delivery, { line, writtenAtMs }: Way, so: string, surroundings: Surroundings
): Promise<Verdict> {
  const code = writtenAtMs === undefined ? 'not-written' : 'not-acked'
  const gone = await surroundings.nodeGone(line.nodeId, line.opened.nodeEpoch)
  if (gone) {
    const what = gone.code === 'node-lost' ? 'was lost at' : 'has not reported since'
    return { code: 'unreported', cause: gone.code, text: `${deviceId}: ${so}; the node ${what} ${timeOf(gone.atMs)}.` }
  }
  const why = writtenAtMs === undefined
    ? 'the connection is open, and its socket has not taken it yet'
    : 'the connection is open'
  return { code, cause: '', text: `${deviceId}: ${so}; ${why}.` }
}

function whatHappened ({ ways }: Delivery, last: Line | undefined): string {
  if (ways.length > 0) return ways.map(way => describe(way, ways.length > 1 ? 'not' : 'never')).join('; ')
  const end = last && endOf(last)
  return end ? `offline since ${timeOf(end.atMs)}, when its connection ${endInWords(end.cause)}` : 'it had no connection'
}

/** `unacked`, `unwritten`; `unreported` where the node died before it could tell which. */
function fateOf ({ line, writtenAtMs }: Way): string {
  if (writtenAtMs !== undefined) return 'unacked'
  return line.end?.closed.code === 'node-lost' ? 'unreported' : 'unwritten'
}

function causeOf (way: Way): string {
  return endOf(way.line)?.cause ?? (way.writtenAtMs === undefined ? 'not-written' : 'not-acked')
}

function causeOfAbsence (last: Line | undefined): string {
  return (last && endOf(last)?.cause) ?? ''
}

/** How the connection ended, or that we have ended it and its edge is about to say so. */
function endOf ({ end, closing }: Line): { readonly atMs: number, readonly cause: string } | undefined {
  return end ?? closing
}

function describe (way: Way, not: 'not' | 'never'): string {
  const { line, sentAtMs, writtenAtMs } = way
  const where = nameOf(line)
  const unreported = fateOf(way) === 'unreported'
  const so = writtenAtMs !== undefined
    ? `written to ${where} at ${timeOf(writtenAtMs)}, ${not} acked`
    : unreported
      ? `sent to ${where} at ${timeOf(sentAtMs)}, and nobody could say whether it was written`
      : `sent to ${where} at ${timeOf(sentAtMs)} and ${not} written`
  const end = endOf(line)
  if (!end) return so
  return `${so}; the connection ${endInWords(end.cause)} ${whileOf(end.atMs - (writtenAtMs ?? sentAtMs))} later`
}
