import type { Test } from 'tap'
import { startProcess } from '../faults/node-process.js'
import { jwtSecret, TestNode } from './node.js'
import { type OtlpSpan, startCollector } from './tracing-collector.js'

export const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
export const callerSpan = '00f067aa0ba902b7'
export const sampledByCaller = `00-${traceId}-${callerSpan}-01`
export const apiKey = 'the-key-of-a-test-node'

/** A node in a process of its own, and the collector that it is told of. */
export async function given (t: Test, env: Record<string, string> = {}) {
  const collector = await startCollector(t)
  const started = await startProcess(t, t.testdir(), {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    LEDGERLINE_JWT_SECRET: jwtSecret,
    LEDGERLINE_API_KEYS: apiKey,
    ...env,
  })
  const node = new TestNode({ ...started, stop: async () => {} }, [])
  /** Posts JSON, as part of somebody's trace where one is given. */
  const ask = async (path: string, body: object, traceparent?: string) => {
    const response = await fetch(node.http + path, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        ...traceparent === undefined ? {} : { traceparent },
      },
      body: JSON.stringify(body),
    })
    t.equal(response.status, 202)
  }
  const push = (messageId: string, traceparent?: string, userId = 'ann') =>
    ask('/v1/downlinks', { messageId, to: { userIds: [userId] }, payload: 'hi' }, traceparent)
  const stop = () => started.kill('SIGTERM')
  return { ...collector, started, node, ask, push, stop }
}

export const named = (spans: readonly OtlpSpan[], name: string) => spans.find(span => span.name === name)!
export const nanos = ({ startTimeUnixNano: start, endTimeUnixNano: end }: OtlpSpan) =>
  [BigInt(start), BigInt(end)] as const
