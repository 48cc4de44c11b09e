import type { Traced } from '../../actors/links.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { userIdOf, userKey } from '../../schemas/apps.js'
import type { PushAnswer } from '../push.js'
import { ChosenMessages } from './chosen.js'
import { contextOfMessage, formatTraceparent, parseTraceparent, shareOf, type SpanContext, within } from './context.js'

export interface FinishedSpan {
  readonly name: string
  readonly kind: 'server' | 'producer' | 'internal' | 'client' | 'consumer'
  readonly context: SpanContext
  /** Id of the span that it is part of, in the same trace; undefined for the first one of a trace. */
  readonly parentId: string | undefined
  /** ms since 1970 */
  readonly startMs: number
  readonly endMs: number
  readonly attributes: Readonly<Record<string, string | number>>
  /** Why it failed; undefined where it did not. */
  readonly error?: string | undefined
}

/** Where finished spans go: otlp.ts. */
export interface SpanSink {
  /** Spans that came to nothing, since the start. */
  readonly lost: number
  /** Must not throw. */
  add (span: FinishedSpan): void
  /** Sends what is left, but does not wait for ever. */
  stop (): Promise<void>
}

/** A message of these users that somebody else's trace has led to. */
export type TracedMessage = Pick<Traced, 'userKeys' | 'messageId' | 'traceparent'>

export interface TracingOptions {
  readonly spans: SpanSink
  readonly nodeId: string
  /** Of messages that nobody else's trace has led to: the share that is traced, 0 to 1. */
  readonly ratio: number
  /** User ids whose messages are all traced. */
  readonly users: readonly string[]
  /** Has the other nodes know of a message whose context they can't make of its id. */
  readonly tell: (message: TracedMessage) => void
}

type Push = () => Promise<PushAnswer>

/** What is traced on this node. Where tracing is off there is none of it. */
export class Tracing {
  readonly spans: SpanSink
  readonly nodeId: string
  readonly #ratio: number
  readonly #users: ReadonlySet<string>
  readonly #tell: TracingOptions['tell']
  readonly #chosen = new ChosenMessages()

  constructor ({ spans, nodeId, ratio, users, tell }: TracingOptions) {
    this.spans = spans
    this.nodeId = nodeId
    this.#ratio = ratio
    this.#users = new Set(users)
    this.#tell = tell
  }

  /** From another node: see `TracingOptions.tell`. */
  told ({ userKeys, messageId, traceparent }: TracedMessage): void {
    const context = parseTraceparent(traceparent)
    if (context) this.#chosen.add(userKeys, messageId, context)
  }

  /**
   * The span that all others of a message are part of; undefined where it is not traced.
   *
   * @param userKey the key of a user that it is for, or from
   */
  contextOf (messageId: string, userKey: string): SpanContext | undefined {
    return this.#chosen.get(userKey, messageId) ?? this.#sampled(messageId, userKey)
  }

  /** As `contextOf`, for what no other trace leads to. */
  contextOfUplink (messageId: string, userKey: string): SpanContext | undefined {
    return this.#sampled(messageId, userKey)
  }

  #sampled (messageId: string, userKey: string): SpanContext | undefined {
    const isOfUser = this.#users.size > 0 && this.#users.has(userIdOf(userKey))
    if (this.#ratio === 0 && !isOfUser) return undefined
    const context = contextOfMessage(messageId)
    return isOfUser || shareOf(context) < this.#ratio ? context : undefined
  }

  /** A span of a message. */
  add (
    of: SpanContext, name: string, kind: FinishedSpan['kind'], startMs: number, endMs: number,
    attributes: FinishedSpan['attributes'], error?: string
  ): void {
    this.spans.add({
      name,
      kind,
      context: within(of),
      parentId: of.spanId,
      startMs,
      endMs,
      error,
      attributes: this.#withNode(attributes),
    })
  }

  /** The first span of a message that no other trace leads to. */
  addRoot (
    context: SpanContext, name: string, kind: FinishedSpan['kind'], startMs: number, endMs: number,
    attributes: FinishedSpan['attributes'], error?: string
  ): void {
    this.spans.add({
      name, kind, context, parentId: undefined, startMs, endMs, error, attributes: this.#withNode(attributes),
    })
  }

  /**
   * Of a request to send: its span is what others of the message are part of. It goes on with the trace of whoever
   * asks, where that is sampled.
   *
   * @param kind by HTTP, or by the stream `downlinks`
   */
  async push (command: DownlinkCommand, kind: 'server' | 'consumer', run: Push): Promise<PushAnswer> {
    const end = this.#begin(command, kind)
    if (end === undefined) return await run()
    try {
      const answer = await run()
      end(countsOf(answer))
      return answer
    } catch (err) {
      end({}, (err as Error).message)
      throw err
    }
  }

  /**
   * The same of several, by the stream.
   *
   * @param run tells how many of them are stored
   */
  async pushInOrder (commands: readonly DownlinkCommand[], run: () => Promise<number>): Promise<number> {
    const ends = commands.map(command => this.#begin(command, 'consumer'))
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
    command: DownlinkCommand, kind: FinishedSpan['kind']
  ): ((more: FinishedSpan['attributes'], error?: string) => void) | undefined {
    const { app, messageId, userIds, service } = command
    const upstream = parseTraceparent(command.traceparent)
    const isChosen = upstream?.isSampled === true
    const context = isChosen ? within(upstream) : this.#sampledFor(command)
    if (context === undefined) return undefined
    if (isChosen) {
      const userKeys = userIds.map(userId => userKey(app, userId))
      this.#chosen.add(userKeys, messageId, context)
      this.#tell({ userKeys, messageId, traceparent: formatTraceparent(context) })
    }
    const startMs = now()
    const attributes = {
      'messaging.message.id': messageId, 'ledgerline.service': service, 'ledgerline.users': userIds.length,
    }
    return (more, error) => {
      this.spans.add({
        name: 'downlink request',
        kind,
        context,
        parentId: isChosen ? upstream.spanId : undefined,
        startMs,
        endMs: now(),
        error,
        attributes: this.#withNode({ ...attributes, ...more }),
      })
    }
  }

  #sampledFor ({ messageId, userIds }: DownlinkCommand): SpanContext | undefined {
    const traced = userIds.find(userId => this.#users.has(userId))
    return this.#sampled(messageId, traced ?? '')
  }

  #withNode (attributes: FinishedSpan['attributes']): FinishedSpan['attributes'] {
    return { 'messaging.system': 'ledgerline', 'ledgerline.node': this.nodeId, ...attributes }
  }
}

/** ms since 1970, in parts of one. */
export function now (): number { return performance.timeOrigin + performance.now() }

function countsOf ({ users }: PushAnswer): FinishedSpan['attributes'] {
  const counts: Record<string, number> = {}
  for (const { status } of users) counts[`ledgerline.${status}`] = (counts[`ledgerline.${status}`] ?? 0) + 1
  return counts
}
