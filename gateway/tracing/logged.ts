import type { Stream } from '../../schemas/streams.js'
import { spansOfAppends } from './appends.js'
import type { SpanContext } from './context.js'
import type { Tracing } from './tracing.js'

/** Fields of a line of the log, named as OpenTelemetry has them, so that what collects logs finds the trace. */
export interface LoggedTrace { readonly trace_id: string, readonly span_id: string }

export function loggedTrace ({ traceId, spanId }: SpanContext): LoggedTrace {
  return { trace_id: traceId, span_id: spanId }
}

/** Of a line about an item of a stream: the trace of the message in it. Nothing where that is not traced. */
export function traceOfItem<T> (tracing: Tracing | undefined, { name }: Stream<T>, item: T): LoggedTrace | undefined {
  const context = tracing && spansOfAppends.get(name)?.messageOf(tracing, item, undefined)?.context
  return context && loggedTrace(context)
}
