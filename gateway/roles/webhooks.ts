import type { Registry } from 'prom-client'
import type { Circuit } from '../../ledger/circuit.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Apps } from '../apps.js'
import { isPath, readSettingFile } from '../json-setting.js'
import type { FollowingGroup } from '../stores.js'
import { watchFiles } from '../watched-files.js'
import { WebhookMetrics } from '../webhooks/metrics.js'
import { type RedeliveryCounts, RunningWebhook, type WebhookDeps, type WebhookState } from '../webhooks/running.js'
import { type Webhook, webhooksIn } from '../webhooks/setting.js'

export interface WebhooksRoleDeps extends Omit<WebhookDeps, 'metrics'> {
  readonly apps: Apps
  readonly registry: Registry
  /** `LEDGERLINE_WEBHOOKS`. */
  readonly given: string | undefined
  failed (what: string, error: Error, fields: object): void
}

/** How often the file is looked at. */
const everyMs = 1_000
const file = 'the file'

/** The webhooks of which this node has a share: each node of a cluster with this role has some of the partitions. */
export class WebhooksRole {
  readonly #deps: WebhookDeps
  readonly #running = new Map<string, RunningWebhook>()
  #unwatch = (): void => {}
  /** Changes come one after the other. */
  #changing: Promise<void> = Promise.resolve()
  #stopped = false

  private constructor (deps: WebhooksRoleDeps) {
    const behind = () => new Map(Array.from(this.#running, ([name, { oldestAtMs }]) => [name, oldestAtMs]))
    this.#deps = { ...deps, metrics: new WebhookMetrics(deps.registry, behind) }
  }

  /**
   * Resolves once each of them is followed.
   *
   * @throws ConfigError; where the log can not be followed
   */
  static async start (deps: WebhooksRoleDeps): Promise<WebhooksRole> {
    const role = new WebhooksRole(deps)
    const { given, health } = deps
    const hasApp = (app: string) => deps.apps.has(app)
    if (given === undefined || !isPath(given)) {
      await role.#use(webhooksIn(given, hasApp))
      return role
    }
    let first = true
    role.#unwatch = watchFiles({
      paths: [given],
      everyMs,
      read: () => [readSettingFile('LEDGERLINE_WEBHOOKS', given)] as const,
      take () {
        const webhooks = webhooksIn(given, hasApp)
        const change = role.#use(webhooks)
        if (!first) change.catch((err: Error) => { deps.failed('a webhook could not be started', err, {}) })
        first = false
      },
      looked (trouble) {
        if (trouble === '') health.end('webhooks', file)
        else health.begin('webhooks', `those read last stay in use: ${trouble}`, file)
      },
    })
    await role.#changing
    return role
  }

  groups (): FollowingGroup[] { return [...this.#running.values()].flatMap(webhook => webhook.groups()) }
  circuits (): Circuit[] { return Array.from(this.#running.values(), ({ circuit }) => circuit) }
  states (): WebhookState[] { return Array.from(this.#running.values(), ({ state }) => state) }

  /** @throws GatewayError `not-found` where there is none of this name; `not-ready` as `RunningWebhook` does */
  async redeliver (name: string, signal: AbortSignal): Promise<RedeliveryCounts> {
    const webhook = this.#running.get(name)
    if (!webhook) throw new GatewayError('not-found', `no webhook has the name ${name}`)
    return await webhook.redeliver(signal)
  }

  async stop (): Promise<void> {
    this.#stopped = true
    this.#unwatch()
    await this.#changing.catch(() => {})
    await Promise.all(Array.from(this.#running.values(), webhook => webhook.stop()))
    this.#deps.health.end('webhooks', file)
  }

  /** Those whose entries are as they were go on. */
  #use (webhooks: readonly Webhook[]): Promise<void> {
    this.#changing = this.#changing.catch(() => {}).then(async () => {
      if (this.#stopped) return
      const wanted = new Map(webhooks.map(webhook => [webhook.name, webhook]))
      await Promise.all(Array.from(this.#running, async ([name, running]) => {
        if (wanted.get(name)?.given === running.webhook.given) return
        await running.stop()
        this.#running.delete(name)
      }))
      await Promise.all(webhooks.map(async webhook => {
        if (this.#running.has(webhook.name)) return
        const running = new RunningWebhook(webhook, this.#deps)
        this.#running.set(webhook.name, running)
        await running.start()
      }))
    })
    return this.#changing
  }
}
