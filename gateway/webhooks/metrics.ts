import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** Seconds of a request: 1 ms to 65 s. */
const buckets = Array.from({ length: 17 }, (_, i) => 0.001 * 2 ** i)

/** What Prometheus is told of webhooks. */
export class WebhookMetrics {
  readonly #requests: Counter
  readonly #records: Counter
  readonly #repliesRefused: Counter
  readonly #deleted: Counter
  readonly #seconds: Histogram

  /** @param behind by webhook: when the oldest record that is not done came to be, ms since 1970 */
  constructor (registry: Registry, behind: () => ReadonlyMap<string, number | undefined>) {
    const registers = [registry]
    this.#requests = new Counter({
      name: 'ledgerline_webhook_requests_total',
      help: 'Requests of webhooks, by how they ended: delivered, refused, failed',
      labelNames: ['webhook', 'outcome'],
      registers,
    })
    this.#records = new Counter({
      name: 'ledgerline_webhook_records_total',
      help: 'Records of webhooks that are done: delivered, undelivered (in the stream undelivered)',
      labelNames: ['webhook', 'outcome'],
      registers,
    })
    this.#repliesRefused = new Counter({
      name: 'ledgerline_webhook_replies_refused_total',
      help: 'Answers of webhooks whose downlinks can not be sent',
      labelNames: ['webhook'],
      registers,
    })
    this.#deleted = new Counter({
      name: 'ledgerline_webhook_deleted_blocks_total',
      help: 'Blocks of the streams of webhooks that retention deleted before they were taken',
      labelNames: ['webhook'],
      registers,
    })
    this.#seconds = new Histogram({
      name: 'ledgerline_webhook_seconds',
      help: 'From the request of a webhook until its answer',
      labelNames: ['webhook'],
      buckets,
      registers,
    })
    const lag: Gauge = new Gauge({
      name: 'ledgerline_webhook_lag_seconds',
      help: 'Age of the oldest record that this node has taken and not delivered; 0 for none',
      labelNames: ['webhook'],
      registers,
      collect () {
        lag.reset()
        for (const [webhook, atMs] of behind()) {
          lag.set({ webhook }, atMs === undefined ? 0 : Math.max(0, Date.now() - atMs) / 1_000)
        }
      },
    })
  }

  requested (webhook: string, outcome: string, ms: number): void {
    this.#requests.inc({ webhook, outcome })
    this.#seconds.observe({ webhook }, ms / 1_000)
  }

  replyRefused (webhook: string): void { this.#repliesRefused.inc({ webhook }) }

  deleted (webhook: string, blocks: number): void { this.#deleted.inc({ webhook }, blocks) }

  done (webhook: string, outcome: 'delivered' | 'undelivered', records: number): void {
    this.#records.inc({ webhook, outcome }, records)
  }
}
