import { createServer, type IncomingHttpHeaders } from 'node:http'

/** A span as OTLP has it in JSON; the field names are those of its protocol buffers. */
export interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: ReadonlyArray<{
    readonly key: string
    readonly value: { readonly stringValue?: string, readonly intValue?: number }
  }>
  readonly status: { readonly code: number }
}

interface OtlpRequest {
  readonly resourceSpans: ReadonlyArray<{
    readonly resource: Pick<OtlpSpan, 'attributes'>
    readonly scopeSpans: ReadonlyArray<{ readonly spans: readonly OtlpSpan[] }>
  }>
}

interface Teardown { teardown (done: () => unknown): void }

/** A collector of OpenTelemetry: takes OTLP over HTTP in JSON, as a process of its own would. */
export async function startCollector (t: Teardown) {
  const spans: OtlpSpan[] = []
  const resources: Array<Record<string, unknown>> = []
  const headers: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', part => parts.push(part)).on('end', () => {
      const isTraces = request.method === 'POST' && request.url === '/v1/traces'
      if (!isTraces || request.headers['content-type'] !== 'application/json') {
        response.writeHead(404).end()
        return
      }
      headers.push(request.headers)
      const { resourceSpans } = JSON.parse(Buffer.concat(parts).toString()) as OtlpRequest
      for (const { resource, scopeSpans } of resourceSpans) {
        resources.push(attributesOf(resource))
        spans.push(...scopeSpans.flatMap(scope => scope.spans))
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close(); server.closeAllConnections() })
  const { port } = server.address() as { port: number }
  return { url: `http://127.0.0.1:${port}`, spans, resources, headers }
}

export function attributesOf ({ attributes }: Pick<OtlpSpan, 'attributes'>): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]))
}
