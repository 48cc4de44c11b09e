import { appOf, shownUser, userIdOf, userKey } from '../../schemas/apps.js'
import { payloadToJson } from '../../schemas/payload.js'
import type { ConnectionMoved, NodeFact } from '../../schemas/node-facts.js'
import {
  connections, downlinksRejected, nodes, offline, posts, presence, receipts, type Stream, uplinks,
} from '../../schemas/streams.js'

/** A stream that business services read: how a record of it looks as JSON, and by what they may choose. */
export interface PublicStream<T = any> {
  readonly stream: Stream<T>
  /**
   * Fields of a record, as JSON has them: it leaves out those that are undefined. Objects of one shape: a spread with
   * other fields behind it costs ten times as much.
   */
  view (item: T): object
  /** Whose records are whose app's; absent where they are of no app, and told to whoever may see all of them. */
  appOf? (item: T): string
  /** Which filter names the stream's key: whoever uses it has those partitions read alone. */
  readonly keyedBy?: 'users' | 'room'
  /** What filters look at; a filter without it is refused. Ids are those within the app. */
  userOf? (item: T): string
  roomOf? (item: T): string
  serviceOf? (item: T): string
  /** How what it tells of ended, a code of schemas/errors.ts, or `acked`. */
  codeOf? (item: T): string
}

/** For streams that are keyed by user. */
const ofUsers = {
  appOf: ({ userId }: { readonly userId: string }) => appOf(userId),
  userOf: ({ userId }: { readonly userId: string }) => userIdOf(userId),
  keyedBy: 'users',
} as const

/** All of them; a record of one that is not here is nobody's business. */
export const publicStreams: readonly PublicStream[] = [
  of(uplinks, {
    view: ({
      userId, userSeq, deviceId, platform, sessionId, seq, service, payload, priority, receivedAtMs, connectionId,
      roomId,
    }) => ({
      app: namedApp(userId),
      userId: userIdOf(userId),
      userSeq,
      deviceId,
      platform,
      sessionId,
      seq,
      service,
      payload: payloadToJson(payload),
      priority,
      receivedAtMs,
      connectionId,
      roomId,
    }),
    ...ofUsers,
    roomOf: ({ roomId }) => roomId,
    serviceOf: ({ service }) => service,
  }),
  of(connections, {
    view: connection => ({ app: namedApp(connection.userId), ...connection, userId: userIdOf(connection.userId) }),
    ...ofUsers,
    codeOf: ({ code }) => code,
  }),
  of(presence, {
    view: change => ({ app: namedApp(change.userId), ...change, userId: userIdOf(change.userId) }),
    ...ofUsers,
  }),
  of(receipts, {
    view: receipt => ({ app: namedApp(receipt.userId), ...receipt, userId: userIdOf(receipt.userId) }),
    ...ofUsers,
    serviceOf: ({ service }) => service,
    codeOf: ({ outcome, reason }) => reason || outcome,
  }),
  of(offline, {
    view: ({ userId, payload, ...downlink }) =>
      ({ ...shownUser(userId), ...downlink, payload: payloadToJson(payload) }),
    ...ofUsers,
    serviceOf: ({ service }) => service,
  }),
  of(posts, {
    view: ({ roomId, from, payload, ...post }) =>
      ({ ...shownRoom(roomId), ...post, from: from || null, payload: payloadToJson(payload) }),
    appOf: ({ roomId }) => appOf(roomId),
    keyedBy: 'room',
    roomOf: ({ roomId }) => userIdOf(roomId),
    userOf: ({ from }) => from,
    serviceOf: ({ service }) => service,
  }),
  of(downlinksRejected, {
    view: ({ userId, command, ...rejected }) =>
      ({ ...shownUser(userId), ...rejected, command: payloadToJson(command) }),
    appOf: ofUsers.appOf, // its partitions are not by user
    userOf: ofUsers.userOf,
  }),
  of(nodes, {
    view: ({ fact, ...entry }) => ({ ...entry, fact: shownFact(fact) }),
  }),
]

/** What JSON leaves out of the default app's. */
function namedApp (key: string): string | undefined { return appOf(key) || undefined }

function of<T> (stream: Stream<T>, what: Omit<PublicStream<NoInfer<T>>, 'stream'>): PublicStream<T> {
  return { stream, ...what }
}

function shownRoom (key: string): { readonly app?: string, readonly roomId: string } {
  const { userId: roomId, ...ofApp } = shownUser(key)
  return { ...ofApp, roomId }
}

function shownFact (fact: NodeFact): object {
  switch (fact.type) {
    case 'NodeDrainReported': return { ...fact, moves: fact.moves.map(shownMove) }
    case 'BroadcastRequested': return { ...ofApp(fact), payload: payloadToJson(fact.payload) }
    case 'BroadcastCancelled':
    case 'BroadcastReported':
    case 'OperatorAsked': return ofApp(fact)
    default: return fact
  }
}

/** The default one is not named. */
function ofApp<T extends { readonly app: string }> ({ app, ...fact }: T): object {
  return app === '' ? fact : { app, ...fact }
}

function shownMove ({ userId, ...move }: ConnectionMoved): object { return { ...shownUser(userId), ...move } }

/** Which records are told; what is undefined lets all pass. */
export interface Wanted {
  readonly app: string
  readonly users: ReadonlySet<string> | undefined
  readonly room: string | undefined
  readonly service: string | undefined
  readonly code: string | undefined
}

/** Makes the test of one record. */
export function wants<T> (
  { appOf, userOf, roomOf, serviceOf, codeOf }: PublicStream<T>, { app, users, room, service, code }: Wanted
): (item: T) => boolean {
  return item => (appOf === undefined || appOf(item) === app) &&
    (users === undefined || users.has(userOf!(item))) &&
    (room === undefined || roomOf!(item) === room) &&
    (service === undefined || serviceOf!(item) === service) &&
    (code === undefined || codeOf!(item) === code)
}

/** Keys of the stream that alone are wanted; undefined for all. */
export function keysOf ({ keyedBy }: PublicStream, { app, users, room }: Wanted): string[] | undefined {
  if (keyedBy === 'users' && users) return [...users].map(userId => userKey(app, userId))
  if (keyedBy === 'room' && room !== undefined) return [userKey(app, room)]
  return undefined
}
