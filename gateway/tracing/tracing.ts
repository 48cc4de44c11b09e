import type { Traced } from '../../actors/links.js'
import { appOf, userIdOf, userKey } from '../../schemas/apps.js'
import { ChosenMessages, everybodyOf, membersOf } from './chosen.js'
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

/** Nodes that record parts of a message's way: those that deliver it, and of posts those that number them. */
export type Recorders = 'edges' | 'edges and users'

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
  readonly tell: (message: TracedMessage, recorders: Recorders) => void
}

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

  /** The same of a downlink to several users of an app that no other trace leads to: one of them has it traced. */
  contextOfUsers (messageId: string, userIds: readonly string[]): SpanContext | undefined {
    const traced = userIds.find(userId => this.#users.has(userId))
    return this.#sampled(messageId, traced ?? '')
  }

  /** As `contextOf`, for what no other trace leads to. */
  contextOfUplink (messageId: string, userKey: string): SpanContext | undefined {
    return this.#sampled(messageId, userKey)
  }

  /**
   * As `contextOf`, of a post. That of a user is part of the trace of its uplink.
   *
   * @param from user id; empty where a business service posts
   */
  contextOfPost (roomKey: string, messageId: string, from: string): SpanContext | undefined {
    const chosen = this.#chosen.get(membersOf(roomKey), messageId)
    if (chosen || from === '') return chosen ?? this.#sampled(messageId, '')
    const app = appOf(roomKey)
    return this.#sampled(userKey(app, messageId), userKey(app, from))
  }

  contextOfBroadcast (app: string, messageId: string): SpanContext | undefined {
    return this.#chosen.get(everybodyOf(app), messageId) ?? this.#sampled(messageId, '')
  }

  /**
   * The message goes on with the trace of whoever asks for it. Other nodes are told so at once: what is appended
   * afterwards they learn later.
   *
   * @returns the context of its own first span
   */
  choose (upstream: SpanContext, userKeys: readonly string[], messageId: string, recorders: Recorders): SpanContext {
    const context = within(upstream)
    this.#chosen.add(userKeys, messageId, context)
    this.#tell({ userKeys, messageId, traceparent: formatTraceparent(context) }, recorders)
    return context
  }

  #sampled (messageId: string, userKey: string): SpanContext | undefined {
    const isOfUser = this.#users.size > 0 && this.#users.has(userIdOf(userKey))
    const isTraced = isOfUser || (this.#ratio > 0 && shareOf(messageId) < this.#ratio)
    return isTraced ? contextOfMessage(messageId) : undefined
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

  /** The span that all others of a message are part of. @param parentId span of whoever asked for the message */
  addRoot (
    context: SpanContext, name: string, kind: FinishedSpan['kind'], startMs: number, endMs: number,
    attributes: FinishedSpan['attributes'], error?: string, parentId?: string
  ): void {
    this.spans.add({
      name, kind, context, parentId, startMs, endMs, error, attributes: this.#withNode(attributes),
    })
  }

  #withNode (attributes: FinishedSpan['attributes']): FinishedSpan['attributes'] {
    return { 'messaging.system': 'ledgerline', 'ledgerline.node': this.nodeId, ...attributes }
  }
}

/** ms since 1970, in parts of one. */
export function now (): number { return performance.timeOrigin + performance.now() }
