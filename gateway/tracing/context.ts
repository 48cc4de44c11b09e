import { randomBytes } from 'node:crypto'
import { traceparentOf } from '../../ledger/kafka/format.js'
import { hashOf } from '../../schemas/partitioning.js'

/** W3C trace context of one span: 32 and 16 hexadecimal digits. */
export interface SpanContext {
  readonly traceId: string
  readonly spanId: string
  /** Whoever is called should record its part, too. */
  readonly isSampled: boolean
}

const format = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:-.*)?$/

/** @returns undefined where it is none; who sent it is not refused for that, as the standard wants */
export function parseTraceparent (text: unknown): SpanContext | undefined {
  const match = typeof text === 'string' ? format.exec(text) : null
  if (!match) return undefined
  return { traceId: match[1]!, spanId: match[2]!, isSampled: (Number.parseInt(match[3]!, 16) & 1) === 1 }
}

export function formatTraceparent ({ traceId, spanId, isSampled }: SpanContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
}

/** The context that a message has by its id: every node, and whoever reads the streams, comes to the same one. */
export function contextOfMessage (messageId: string): SpanContext {
  return parseTraceparent(traceparentOf(messageId))!
}

/** A new span in the trace of another. */
export function within ({ traceId }: SpanContext): SpanContext {
  return { traceId, spanId: randomBytes(8).toString('hex'), isSampled: true }
}

/**
 * Where a message stands among all, 0 to 1: the same on every node, and for every span of it. Not by its trace id,
 * which takes 60 times as long: most messages are not traced, and need none.
 */
export function shareOf (messageId: string): number { return (hashOf(messageId) >>> 0) / 2 ** 32 }
