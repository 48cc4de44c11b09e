import type { Entry } from '../../schemas/facts.js'
import type { NodeEntry } from '../../schemas/node-facts.js'
import type { Posted, UplinkAccepted } from '../../schemas/records.js'
import type { RoomEntry } from '../../schemas/room-facts.js'
import { ledger, nodes, posts, rooms, type Stream, uplinks } from '../../schemas/streams.js'
import type { SpanContext } from './context.js'
import type { FinishedSpan, Tracing } from './tracing.js'

/** A message that an item of a stream is about; without a context it is not traced. */
interface FoundMessage { readonly messageId: string, readonly context: SpanContext | undefined }

/** The span that appends to a stream make of each message. */
export interface AppendSpans<T> {
  readonly name: string
  readonly kind: FinishedSpan['kind']
  /** Whoever appends tries again until it is done: a try that fails has no span. */
  readonly isRetried: boolean
  /** @param before the item in front of it in the same append */
  messageOf (tracing: Tracing, item: T, before: T | undefined): FoundMessage | undefined
}

/** A downlink to several users is one message, whose entries share their fact. */
const downlinks: AppendSpans<Entry> = {
  name: 'ledger append',
  kind: 'client',
  isRetried: false,
  messageOf (tracing, { userId, fact }, before) {
    if (fact.type !== 'DownlinkRequested' || fact === before?.fact) return undefined
    return { messageId: fact.messageId, context: tracing.contextOf(fact.messageId, userId) }
  },
}

const postRequests: AppendSpans<RoomEntry> = {
  name: 'room append',
  kind: 'client',
  isRetried: false,
  messageOf: (tracing, { roomId, fact }) => fact.type === 'PostRequested'
    ? { messageId: fact.messageId, context: tracing.contextOfPost(roomId, fact.messageId, fact.from) }
    : undefined,
}

const broadcasts: AppendSpans<NodeEntry> = {
  name: 'broadcast append',
  kind: 'client',
  isRetried: false,
  messageOf: (tracing, { fact }) => fact.type === 'BroadcastRequested'
    ? { messageId: fact.messageId, context: tracing.contextOfBroadcast(fact.app, fact.messageId) }
    : undefined,
}

const acceptedUplinks: AppendSpans<UplinkAccepted> = {
  name: 'uplink publish',
  kind: 'producer',
  isRetried: true,
  messageOf (tracing, item) {
    const messageId = uplinks.messageId!(item)
    return { messageId, context: tracing.contextOfUplink(messageId, item.userId) }
  },
}

const numberedPosts: AppendSpans<Posted> = {
  name: 'post publish',
  kind: 'producer',
  isRetried: true,
  messageOf: (tracing, { roomId, messageId, from }) =>
    ({ messageId, context: tracing.contextOfPost(roomId, messageId, from) }),
}

/** By the name of the stream. */
export const spansOfAppends: ReadonlyMap<string, AppendSpans<any>> = new Map([
  of(ledger, downlinks), of(rooms, postRequests), of(nodes, broadcasts), of(uplinks, acceptedUplinks),
  of(posts, numberedPosts),
])

function of<T> ({ name }: Stream<T>, spans: AppendSpans<T>): [string, AppendSpans<any>] { return [name, spans] }
