import type { RoomView } from './rooms/state.js'
import type { StateView } from './state.js'

/** One field, or one whole object such as a session, that differs between two states. */
export interface Change {
  readonly type: 'added' | 'removed' | 'changed'
  /** Where it stands: `['sessions', 'phone', 'outbox', 'm1', 'seq']`. */
  readonly path: readonly string[]
  /** Absent where it was added. */
  readonly before?: unknown
  /** Absent where it was removed. */
  readonly after?: unknown
}

type Tree = { readonly [key: string]: unknown }

/** What changed from one state of a user to another: sessions by device, connections by id, downlinks by message. */
export function changesBetween (before: StateView, after: StateView): Change[] {
  return [...differences(treeOf(before), treeOf(after), [])]
}

/** The same of a room: nodes and posts by their ids. */
export function roomChangesBetween (before: RoomView, after: RoomView): Change[] {
  return [...differences(treeOfRoom(before), treeOfRoom(after), [])]
}

function treeOfRoom ({ roomSeq, keptAfter, closed, closeReason, nodes, posts }: RoomView): Tree {
  const numbered = posts.map(({ roomSeq, ...post }) => ({ ...post, roomSeq: `${roomSeq}` }))
  return { roomSeq, keptAfter, closed, closeReason, nodes: keyed(nodes, 'nodeId'), posts: keyed(numbered, 'roomSeq') }
}

function treeOf ({ userSeq, sessions, connections, waiting, memberships }: StateView): Tree {
  return {
    userSeq,
    sessions: keyed(sessions.map(session => ({ ...session, outbox: byMessage(session.outbox) })), 'deviceId'),
    connections: keyed(connections, 'connectionId'),
    waiting: byMessage(waiting),
    memberships: keyed(memberships, 'roomId'),
  }
}

function byMessage (downlinks: ReadonlyArray<{ readonly messageId: string }>): Tree {
  return keyed(downlinks, 'messageId')
}

/** Objects by one of their fields. A redelivered downlink may stand there twice: `m1`, then `m1 (2)`. */
function keyed<K extends string> (items: ReadonlyArray<Readonly<Record<K, string>>>, field: K): Tree {
  const tree: Record<string, unknown> = Object.create(null)
  for (const item of items) {
    const { [field]: key, ...rest } = item
    let free = key
    for (let n = 2; free in tree; n++) free = `${key} (${n})`
    tree[free] = rest
  }
  return tree
}

function * differences (before: Tree, after: Tree, path: readonly string[]): Generator<Change> {
  for (const key of Object.keys(before)) {
    if (!(key in after)) yield { type: 'removed', path: [...path, key], before: before[key] }
  }
  for (const [key, value] of Object.entries(after)) {
    const at = [...path, key]
    const old = before[key]
    if (!(key in before)) yield { type: 'added', path: at, after: value }
    else if (isTree(old) && isTree(value)) yield * differences(old, value, at)
    else if (old !== value) yield { type: 'changed', path: at, before: old, after: value }
  }
}

function isTree (value: unknown): value is Tree {
  return typeof value === 'object' && value !== null
}
