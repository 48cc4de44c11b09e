import type { SpanExporter } from '@opentelemetry/sdk-trace-base'

/** Between two words on the same trouble. */
const tellEveryMs = 60_000

/** Counts the spans that the collector did not take, and says so once a minute at most. */
export class SpanLosses {
  readonly #tell: (reason: string, lost: number) => void
  readonly #now: () => number
  #lost = 0
  #toldMs = -Infinity

  /** @param tell why the last ones were lost, and how many were since the start */
  constructor (tell: (reason: string, lost: number) => void, now: () => number = performance.now.bind(performance)) {
    this.#tell = tell
    this.#now = now
  }

  /** Since the start. */
  get lost (): number { return this.#lost }

  add (spans: number, reason: string): void {
    this.#lost += spans
    const nowMs = this.#now()
    if (nowMs - this.#toldMs < tellEveryMs) return
    this.#toldMs = nowMs
    this.#tell(reason, this.#lost)
  }
}

type Sent = Parameters<SpanExporter['export']>

/** An exporter whose failures are counted; spans that it is given wait no longer. */
export class CountedExporter implements SpanExporter {
  readonly #exporter: SpanExporter
  readonly #losses: SpanLosses
  readonly #given: (spans: number) => void

  constructor (exporter: SpanExporter, losses: SpanLosses, given: (spans: number) => void) {
    this.#exporter = exporter
    this.#losses = losses
    this.#given = given
  }

  export (spans: Sent[0], done: Sent[1]): void {
    this.#given(spans.length)
    this.#exporter.export(spans, result => {
      if (result.error) this.#losses.add(spans.length, reasonOf(result.error))
      done(result)
    })
  }

  shutdown (): Promise<void> { return this.#exporter.shutdown() }
  async forceFlush (): Promise<void> { await this.#exporter.forceFlush?.() }
}

/** Of a refusal the HTTP status, but nothing of the answer's body: it may repeat what was sent. */
function reasonOf (error: Error & { readonly code?: number | string }): string {
  return error.code === undefined ? error.message : `${error.message} (${error.code})`
}
