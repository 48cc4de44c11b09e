import { userIdOf, userKey } from '../../schemas/apps.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import type { BroadcastAnswer, BroadcastCommand } from '../broadcasts/broadcasts.js'
import type { PushAnswer } from '../push.js'
import type { PostAnswer, PostCommand } from '../rooms.js'
import { everybodyOf, membersOf } from './chosen.js'
import { parseTraceparent, type SpanContext } from './context.js'
import { type FinishedSpan, now, type Recorders, type Tracing } from './tracing.js'

type Attributes = FinishedSpan['attributes']

/** By HTTP, by the stream `downlinks`, or in the answer of a webhook. */
type Way = 'server' | 'consumer' | 'internal'

interface Requested {
  readonly name: string
  readonly messageId: string
  readonly service: string
  /** Of whoever asks; undefined where they are part of no trace. */
  readonly traceparent: string | undefined
  readonly userKeys: readonly string[]
  readonly recorders: Recorders
  readonly attributes: Attributes
  /** Where no sampled trace leads to it; undefined where it is not traced then. */
  readonly own: () => SpanContext | undefined
}

/**
 * The first span of each message that business services ask for. It goes on with the trace of whoever asks, where that
 * is sampled; all other spans of the message are part of it.
 */
export class TracedRequests {
  readonly #tracing: Tracing

  constructor (tracing: Tracing) { this.#tracing = tracing }

  push (command: DownlinkCommand, way: Way, run: () => Promise<PushAnswer>): Promise<PushAnswer> {
    return this.#one(this.#downlink(command), way, run, countsOf)
  }

  /** @param run tells how many of them are stored */
  pushInOrder (commands: readonly DownlinkCommand[], run: () => Promise<number>): Promise<number> {
    return this.#inOrder(commands.map(command => this.#downlink(command)), run)
  }

  post (command: PostCommand, run: () => Promise<PostAnswer>): Promise<PostAnswer> {
    return this.#one(this.#post(command), 'server', run, statusOf)
  }

  /** @param run tells how many of them are stored */
  postInOrder (commands: readonly PostCommand[], run: () => Promise<number>): Promise<number> {
    return this.#inOrder(commands.map(command => this.#post(command)), run)
  }

  broadcast (command: BroadcastCommand, run: () => Promise<BroadcastAnswer>): Promise<BroadcastAnswer> {
    const { app, messageId, service, traceparent } = command
    const requested: Requested = {
      name: 'broadcast request',
      messageId,
      service,
      traceparent,
      userKeys: [everybodyOf(app)],
      recorders: 'edges',
      attributes: {},
      own: () => this.#tracing.contextOfBroadcast(app, messageId),
    }
    return this.#one(requested, 'server', run, statusOf)
  }

  #downlink ({ app, messageId, userIds, service, traceparent }: DownlinkCommand): Requested {
    return {
      name: 'downlink request',
      messageId,
      service,
      traceparent,
      userKeys: userIds.map(userId => userKey(app, userId)),
      recorders: 'edges',
      attributes: { 'ledgerline.users': userIds.length },
      own: () => this.#tracing.contextOfUsers(messageId, userIds),
    }
  }

  #post ({ roomId, messageId, service, traceparent }: PostCommand): Requested {
    return {
      name: 'post request',
      messageId,
      service,
      traceparent,
      userKeys: [membersOf(roomId)],
      recorders: 'edges and users',
      attributes: { 'ledgerline.room': userIdOf(roomId) },
      own: () => this.#tracing.contextOfPost(roomId, messageId, ''),
    }
  }

  async #one<T> (requested: Requested, way: Way, run: () => Promise<T>, told: (answer: T) => Attributes): Promise<T> {
    const end = this.#begin(requested, way)
    if (end === undefined) return await run()
    try {
      const answer = await run()
      end(told(answer))
      return answer
    } catch (err) {
      end({}, (err as Error).message)
      throw err
    }
  }

  async #inOrder (all: readonly Requested[], run: () => Promise<number>): Promise<number> {
    const ends = all.map(requested => this.#begin(requested, 'consumer'))
    let stored = 0
    let reason = 'not stored yet'
    try {
      stored = await run()
      return stored
    } catch (err) {
      reason = (err as Error).message
      throw err
    } finally {
      for (const [i, end] of ends.entries()) end?.({}, i < stored ? undefined : reason)
    }
  }

  /** @returns what ends the span; undefined where the message is not traced */
  #begin (
    { name, messageId, service, traceparent, userKeys, recorders, attributes, own }: Requested, way: Way
  ): ((more: Attributes, error?: string) => void) | undefined {
    const tracing = this.#tracing
    const upstream = parseTraceparent(traceparent)
    const chosen = upstream?.isSampled ? tracing.choose(upstream, userKeys, messageId, recorders) : undefined
    const context = chosen ?? own()
    if (context === undefined) return undefined
    const startMs = now()
    const all = { 'messaging.message.id': messageId, 'ledgerline.service': service, ...attributes }
    const parentId = chosen && upstream!.spanId
    return (more, error) => {
      tracing.addRoot(context, name, way, startMs, now(), { ...all, ...more }, error, parentId)
    }
  }
}

function countsOf ({ users }: PushAnswer): Attributes {
  const counts: Record<string, number> = {}
  for (const { status } of users) counts[`ledgerline.${status}`] = (counts[`ledgerline.${status}`] ?? 0) + 1
  return counts
}

function statusOf ({ status }: PostAnswer | BroadcastAnswer): Attributes { return { [`ledgerline.${status}`]: 1 } }
