import type { Counter, Histogram, Registry } from 'prom-client'
import { declared } from '../metrics/declared.js'
import { counter, gauge, histogram } from '../metrics/registered.js'

/** What Prometheus is told of webhooks. */
export class WebhookMetrics {
  readonly #requests: Counter<'webhook' | 'outcome'>
  readonly #records: Counter<'webhook' | 'outcome'>
  readonly #repliesRefused: Counter<'webhook'>
  readonly #deleted: Counter<'webhook'>
  readonly #seconds: Histogram<'webhook'>

  /** @param behind by webhook: when the oldest record that is not done came to be, ms since 1970 */
  constructor (registry: Registry, behind: () => ReadonlyMap<string, number | undefined>) {
    this.#requests = counter(registry, declared.webhookRequests)
    this.#records = counter(registry, declared.webhookRecords)
    this.#repliesRefused = counter(registry, declared.webhookRepliesRefused)
    this.#deleted = counter(registry, declared.webhookDeletedBlocks)
    this.#seconds = histogram(registry, declared.webhookSeconds)
    gauge(registry, declared.webhookLag, lag => {
      for (const [webhook, atMs] of behind()) {
        lag.set({ webhook }, atMs === undefined ? 0 : Math.max(0, Date.now() - atMs) / 1_000)
      }
    })
  }

  /** What is to be seen to rise is there from the start: a rise from nothing is none to Prometheus. */
  begun (webhook: string): void {
    for (const outcome of ['delivered', 'undelivered'] as const) this.done(webhook, outcome, 0)
    this.deleted(webhook, 0)
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
