import { formatPosition } from '../../ledger/log.js'
import { shownUser } from '../../schemas/apps.js'
import type { Stream } from '../../schemas/streams.js'

/** What the audit may find, by code. Each is a promise of design.md that the streams show broken. */
export const violations = {
  'downlink-unaccounted': 'a requested downlink is neither acked, skipped, expired, dropped nor waiting, or is more than one of them',
  'ack-above-written': 'a connection acked a downlink that was not written to it',
  'ack-above-numbered': 'a connection acked a downlink with a number that the session has not given',
  'written-above-numbered': 'a connection wrote a downlink with a number that the session has not given',
  'uplink-missing': 'an accepted uplink is not in the stream uplinks',
  'uplink-differs': 'a record of the stream uplinks is not what was accepted',
  'uplink-out-of-order': 'a record of the stream uplinks came after a later one of its user',
  'uplink-repeated': 'a record stands twice in the stream uplinks, where each must stand once',
  'uplink-unexplained': 'a record of the stream uplinks is of no uplink that was accepted',
  'uplink-gap': 'the numbers of a user in the stream uplinks have a gap',
  'derived-missing': 'a record that a fold has made is not in its stream: presence, receipts or offline',
  'derived-differs': 'a record of presence, receipts or offline is not what a fold has made',
  'derived-out-of-order': 'a record of presence, receipts or offline came after a later one of its user',
  'derived-repeated': 'a record stands twice in presence, receipts or offline, where each must stand once',
  'derived-unexplained': 'a record of presence, receipts or offline is of no entry of the ledger',
  'derived-gap': 'the numbers of a user in presence, receipts or offline have a gap',
  'opened-twice': 'a connection opened twice, with different facts',
  'closed-twice': 'a connection closed twice, with different facts',
  'closed-unopened': 'a connection closed that was in use and never opened',
  'connection-unknown': 'a fact is of a connection that the user never opened',
  'open-on-dead-node': 'a connection is open on a node that has ended',
  'open-on-unknown-node': 'a connection is open on a node that the stream nodes does not know',
  'lost-on-living-node': 'a connection was closed for the end of its node, which lived on',
  'epoch-went-back': 'a node went back to an epoch before its last one',
  'record-missing': 'a closed connection is not in the stream connections',
  'record-differs': 'a record of the stream connections is not what the ledger says',
  'record-repeated': 'a record stands twice in the stream connections, where each must stand once',
  'record-unexplained': 'a record of the stream connections is of no connection that has closed',
  'uplink-unposted': 'an accepted uplink that names a room is not in the stream rooms',
  'posted-unexplained': 'the stream rooms has a post of an uplink that was not accepted, or has it twice',
  'posted-differs': 'a post of an uplink in the stream rooms is not what was accepted',
  'post-missing': 'a numbered post is not in the stream posts',
  'post-differs': 'a record of the stream posts is not what was numbered',
  'post-out-of-order': 'a record of the stream posts came after a later one of its room',
  'post-repeated': 'a record stands twice in the stream posts, where each must stand once',
  'post-unexplained': 'a record of the stream posts is of no post that was numbered',
  'post-gap': 'the numbers of a room in the stream posts have a gap',
  'post-undelivered': 'a node that lives has not told for long that it gave a post to its members',
  'delivered-above-numbered': 'a node gave its members a post with a number that the room has not given',
  'joined-on-dead-node': 'a room counts a node among those that have members that had ended long before its last post',
  'wrong-partition': 'an entry stands in another partition than that of its user or room',
  'fold-failed': 'the fold could not take an entry; its user or room is not judged from there on',
} as const

export type ViolationCode = keyof typeof violations

export interface Violation {
  readonly code: ViolationCode
  /** One sentence that names who and what. */
  readonly text: string
  /** Where to look, `ledger 3@1021.4`, the place that shows it first. */
  readonly positions: readonly string[]
  /** That of the user or room; absent for the default one, and for a node. */
  readonly app?: string
  /** Whose it is: one of these three. */
  readonly userId?: string
  readonly roomId?: string
  readonly nodeId?: string
}

/** Whose a violation is: the key of a user or room, or the id of a node. */
export type Subject = { readonly userId: string } | { readonly roomId: string } | { readonly nodeId: string }

/** What a violation says of its subject: `app` apart from the id, as in all that others read. */
export function namesOf (subject: Subject): Pick<Violation, 'app' | 'userId' | 'roomId' | 'nodeId'> {
  if ('userId' in subject) return shownUser(subject.userId)
  if ('nodeId' in subject) return { nodeId: subject.nodeId }
  const { userId: roomId, ...app } = shownUser(subject.roomId)
  return { ...app, roomId }
}

/** Where an item of a stream stands. */
export interface Place { readonly partition: number, readonly offset: bigint, readonly index: number }

export function placeIn ({ name }: Stream<any>, place: Place): string {
  return `${name} ${formatPosition(place)}`
}
