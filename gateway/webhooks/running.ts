import { endingOfMany } from '../../ledger/ending.js'
import type { Circuit } from '../../ledger/circuit.js'
import { endOf } from '../../ledger/end.js'
import type { EventLog, GroupPlaces, Hole } from '../../ledger/log.js'
import type { Health } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import type { DownlinkCommand, Undelivered } from '../../schemas/records.js'
import { type Stream, undelivered } from '../../schemas/streams.js'
import type { PushAnswer } from '../push.js'
import type { FollowingGroup } from '../stores.js'
import { webhookStreams } from './events.js'
import { followSource, recordsFor, type Source, type StreamFollowing } from './follower.js'
import type { OutgoingRecord } from './lanes.js'
import type { WebhookMetrics } from './metrics.js'
import { repliesIn, sendReplies } from '../replies.js'
import { Sender, senderTimes } from './sender.js'
import type { Webhook } from './setting.js'
import { Target } from './target.js'
import { keepUndelivered, recordsKept } from './undelivered.js'

export interface WebhookDeps {
  readonly log: EventLog
  readonly places: GroupPlaces | undefined
  /** Sends what an answer asks for. */
  readonly push: (command: DownlinkCommand) => Promise<PushAnswer>
  readonly frameBytesMax: number
  readonly metrics: WebhookMetrics
  readonly health: Health
  readonly version: string
}

/** What is told of one. */
export interface WebhookState {
  readonly name: string
  /** Scheme, host and port of its URL: the rest of it may hold a secret. */
  readonly url: string
  readonly app: string
  readonly streams: readonly string[]
  readonly state: 'delivering' | 'waiting' | 'disabled'
  /** Why nothing is delivered; empty where something is. */
  readonly reason: string
  /** Blocks of its streams that retention deleted before they were taken, as far as this node has met with them. */
  readonly deletedBlocks: number
}

export interface RedeliveryCounts {
  readonly webhook: string
  /** Records that were sent again, and how many of them were given up again. */
  readonly sent: number
  readonly undelivered: number
}

const lookMs = 50
const placesMs = 1_000
/** For so long it is told that retention has passed it. */
const deletedToldMs = 86_400_000

export function groupOf (name: string): string { return `webhooks.${name}` }

/** One webhook while this node has it: its server, and its place in each of its streams. */
export class RunningWebhook {
  readonly #deps: WebhookDeps
  readonly #target: Target
  readonly #sender: Sender
  readonly #ending = endingOfMany()
  #followings: Array<{ readonly stream: string, readonly following: StreamFollowing }> = []
  #reason = ''
  #redelivering = false
  #deletedBlocks = 0
  #deletedTimer: NodeJS.Timeout | undefined

  constructor (readonly webhook: Webhook, deps: WebhookDeps) {
    const { name } = webhook
    this.#deps = deps
    this.#target = new Target(webhook, deps.version)
    this.#sender = new Sender({
      webhook,
      target: this.#target,
      times: senderTimes,
      giveUp: (records, status, reason) => this.#giveUp(records, status, reason),
      reply: (records, answer) => this.#reply(records, answer),
      attempted: (outcome, records, ms) => {
        deps.metrics.requested(name, outcome, ms)
        if (outcome === 'delivered') deps.metrics.done(name, 'delivered', records)
      },
      stuck: reason => { this.#stuck(reason) },
    })
  }

  get circuit (): Circuit { return this.#sender.circuit }
  get oldestAtMs (): number | undefined { return this.#sender.oldestAtMs }

  get state (): WebhookState {
    const { webhook: { name, url, app, streams } } = this
    const state = this.#sender.isDisabled ? 'disabled' : this.#reason === '' ? 'delivering' : 'waiting'
    return { name, url: url.origin, app, streams, state, reason: this.#reason, deletedBlocks: this.#deletedBlocks }
  }

  /** @throws where the log can not be followed */
  async start (): Promise<void> {
    const { webhook } = this
    this.#deps.metrics.begun(webhook.name)
    await Promise.all(webhook.streams.map(async name => {
      const of = webhookStreams.get(name)!
      await this.#follow(of.stream, recordsFor(webhook, of), { sinceMs: webhook.sinceMs })
    }))
  }

  groups (): FollowingGroup[] {
    return this.#followings.map(({ stream, following }) => ({
      group: groupOf(this.webhook.name),
      stream: stream === undelivered.name ? undelivered : webhookStreams.get(stream)!.stream,
      partitions: following.positions(),
    }))
  }

  /**
   * Sends what was given up once more, up to the end of the stream as it is now, and keeps how far it came. Where other
   * nodes do so at the same time each sends a share, and counts that; all end when there is nothing left.
   *
   * @throws GatewayError `not-ready` while that is being done already
   */
  async redeliver (signal: AbortSignal): Promise<RedeliveryCounts> {
    const { webhook: { name } } = this
    if (this.#redelivering) throw new GatewayError('not-ready', `what ${name} did not take is being sent again already`)
    this.#redelivering = true
    const { log } = this.#deps
    try {
      const ends = await Promise.all(Array.from({ length: log.partitions(undelivered) }, async (_, partition) => {
        const [{ first }, end] = [await log.bounds(undelivered, partition), await endOf(log, undelivered, partition)]
        return end > first ? end : 0n // nothing is there, and nothing will be handed over
      }))
      const of = (item: Undelivered) => item.webhook === name ? recordsKept(item) : []
      const following = await this.#follow(undelivered, of, { ends })
      const isWhole = await this.#redelivered(following, ends, signal)
      const counts = { webhook: name, sent: following.counts.taken, undelivered: following.counts.givenUp }
      await following.stop()
      this.#followings = this.#followings.filter(each => each.following !== following)
      if (!isWhole) throw new GatewayError('not-ready', 'it was broken off: what is left is sent when it is asked for again')
      return counts
    } finally {
      this.#redelivering = false
    }
  }

  /** Its requests that are under way may end. What is not done is sent again when it starts anew, on whatever node. */
  async stop (): Promise<void> {
    await Promise.all(this.#followings.map(({ following }) => following.stop()))
    this.#ending.abort()
    clearTimeout(this.#deletedTimer)
    this.#sender.stop()
    await this.#target.close()
    const { name } = this.webhook
    for (const what of ['', ', undelivered', ', replies', ', deleted']) this.#deps.health.end('webhooks', name + what)
  }

  async #follow (
    stream: Stream<any>, recordsOf: Source<any>['recordsOf'], range: Pick<Source<any>, 'sinceMs' | 'ends'>
  ): Promise<StreamFollowing> {
    const { log } = this.#deps
    const group = groupOf(this.webhook.name)
    const passed = (partition: number, hole: Hole) => { this.#passed(stream.name, partition, hole) }
    const following = await followSource({ log, stream, group, passed, recordsOf, ...range }, this.#sender)
    this.#followings.push({ stream: stream.name, following })
    return following
  }

  /** Whether all is done: here, or where others have partitions of it, since it was asked for at another node too. */
  async #redelivered (following: StreamFollowing, ends: readonly bigint[], signal: AbortSignal): Promise<boolean> {
    const group = groupOf(this.webhook.name)
    let elsewhere: ReadonlyMap<number, { readonly next: bigint }> = new Map()
    const isDone = () => ends.every((end, partition) =>
      (following.positions().get(partition) ?? elsewhere.get(partition)?.next ?? 0n) >= end)
    let askAtMs = performance.now() + placesMs
    while (!isDone()) {
      if (signal.aborted || this.#ending.signal.aborted) return false
      await new Promise(resolve => setTimeout(resolve, lookMs))
      if (performance.now() < askAtMs) continue
      askAtMs = performance.now() + placesMs
      elsewhere = await this.#deps.places?.of(undelivered, group).catch(() => undefined) ?? elsewhere
    }
    return true
  }

  async #giveUp (records: readonly OutgoingRecord[], status: number, reason: string): Promise<void> {
    const { webhook: { name } } = this
    const { log, health, metrics } = this.#deps
    const failed = (reason: string) => {
      if (reason === '') health.end('webhooks', `${name}, undelivered`)
      else health.begin('webhooks', reason, `${name}, undelivered`)
    }
    await keepUndelivered({ log, webhook: name, signal: this.#ending.signal, failed }, records, status, reason)
    metrics.done(name, 'undelivered', records.length)
  }

  async #reply (records: readonly OutgoingRecord[], answer: string): Promise<void> {
    const { webhook: { name, app } } = this
    const { push, frameBytesMax, health, metrics } = this.#deps
    const what = `${name}, replies`
    let commands
    try {
      const { downlinks = [] } = JSON.parse(answer) as { downlinks?: unknown }
      const answered = records.map(({ of, item, id }) => ({ id, userId: of.userOf?.(item) || undefined }))
      commands = repliesIn(downlinks, answered, { webhook: name, app }, frameBytesMax)
      health.end('webhooks', what)
    } catch (err) {
      // It would answer the same again: what was told to it is delivered, and a person is told why nothing came of it.
      health.begin('webhooks', `its answers have downlinks that can not be sent: ${(err as Error).message}`, what)
      return metrics.replyRefused(name)
    }
    await sendReplies(commands, { push, frameBytesMax })
  }

  #passed (stream: string, partition: number, { from, to }: Hole): void {
    const { health, metrics } = this.#deps
    const { name } = this.webhook
    const what = `${name}, deleted`
    const blocks = Number(to - from)
    this.#deletedBlocks += blocks
    metrics.deleted(name, blocks)
    health.begin('webhooks', `retention has deleted ${this.#deletedBlocks} blocks of its streams before it took them, ` +
      `the last ones of ${stream} from ${partition}@${from} to ${partition}@${to - 1n}`, what)
    clearTimeout(this.#deletedTimer)
    this.#deletedTimer = setTimeout(() => { health.end('webhooks', what) }, deletedToldMs).unref()
  }

  #stuck (reason: string): void {
    if (reason === this.#reason) return
    this.#reason = reason
    const { health } = this.#deps
    const { name } = this.webhook
    if (reason === '') health.end('webhooks', name)
    else health.begin('webhooks', reason, name)
  }
}
