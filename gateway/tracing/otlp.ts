import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace, TraceFlags, type Tracer } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOnSampler, BasicTracerProvider, BatchSpanProcessor, type IdGenerator,
} from '@opentelemetry/sdk-trace-base'
import { CountedExporter, SpanLosses } from './span-losses.js'
import type { FinishedSpan, SpanSink } from './tracing.js'

export interface OtlpOptions {
  /** Of the collector, without the path. */
  readonly endpoint: string
  /** Sent with each request, such as a login. */
  readonly headers: Readonly<Record<string, string>>
  readonly serviceName: string
  readonly nodeId: string
  readonly version: string
  /** The collector does not take spans; told once a minute at most. @param lost spans since the start */
  readonly failed: (reason: string, lost: number) => void
}

/** Spans that wait to be sent; those beyond are dropped. */
const queuedMax = 2_048
const sendEveryMs = 1_000
const sendMs = 5_000

const kinds: Readonly<Record<FinishedSpan['kind'], SpanKind>> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
}

/** Sends spans to a collector, as OTLP over HTTP. The packages of OpenTelemetry are loaded with this file alone. */
export function otlpSpans ({ endpoint, headers, serviceName, nodeId, version, failed }: OtlpOptions): SpanSink {
  const ids = new GivenIds()
  const losses = new SpanLosses(failed)
  let waiting = 0
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/$/, '')}/v1/traces`, headers: { ...headers }, timeoutMillis: sendMs,
  })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': serviceName, 'service.version': version, 'service.instance.id': nodeId,
    }),
    sampler: new AlwaysOnSampler(), // what comes here was chosen
    idGenerator: ids,
    spanProcessors: [new BatchSpanProcessor(new CountedExporter(exporter, losses, given => { waiting -= given }), {
      maxQueueSize: queuedMax, scheduledDelayMillis: sendEveryMs, exportTimeoutMillis: sendMs,
    })],
  })
  const tracer = provider.getTracer('ledgerline', version)
  return {
    get lost () { return losses.lost },
    add (span) {
      if (waiting >= queuedMax) {
        losses.add(1, 'spans come faster than the collector takes them')
        return
      }
      waiting++
      ids.next = span
      finish(tracer, span)
    },
    stop: () => provider.shutdown().catch(() => { /* the collector is away: what was left is lost */ }),
  }
}

function finish (tracer: Tracer, finished: FinishedSpan): void {
  const { name, kind, context, parentId, startMs, endMs, attributes, error } = finished
  const parent = parentId === undefined
    ? ROOT_CONTEXT
    : trace.setSpanContext(ROOT_CONTEXT, {
      traceId: context.traceId, spanId: parentId, traceFlags: TraceFlags.SAMPLED, isRemote: true,
    })
  const span: Span = tracer.startSpan(name, { kind: kinds[kind], startTime: startMs, attributes }, parent)
  if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error })
  span.end(endMs)
}

/** Spans have the ids that they come with: that of a message's first span is made of the message's id. */
class GivenIds implements IdGenerator {
  next: Pick<FinishedSpan, 'context'> | undefined

  readonly generateTraceId = (): string => this.next!.context.traceId
  readonly generateSpanId = (): string => this.next!.context.spanId
}
