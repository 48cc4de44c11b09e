import type { Verdict } from '../evidence/trace.js'

/** What to do about a verdict, and how good it is. */
export interface Advice {
  readonly tone: 'good' | 'waits' | 'bad'
  readonly text: string
  /** Sending it again may help. */
  readonly redeliver: boolean
}

const nothing = (text: string): Advice => ({ tone: 'good', text, redeliver: false })
const wait = (text: string): Advice => ({ tone: 'waits', text, redeliver: false })
const again = (text: string): Advice => ({ tone: 'bad', text, redeliver: true })
const bad = (text: string): Advice => ({ tone: 'bad', text, redeliver: false })

/** By code of the verdict (docs/debugging.md). */
const byCode: Readonly<Record<string, Advice>> = {
  acked: nothing('Nothing: it arrived, and the application took it.'),
  accepted: nothing('Nothing: the gateway has it and has published it.'),
  unpublished: bad('Look at the condition uplinks on the overview: the stream does not take it just now.'),
  'never-reached-us': wait('Nothing here: its client sends it again when it connects.'),
  'not-received': wait('Nothing here: its client sends it again. If it does not, look at the client.'),
  gap: wait('Nothing here: its client sends what is before it first, and then this one again.'),
  'connection-replaced': wait('Nothing here: its client sends it over the later connection of its session. If it does not, look at the client.'),
  'session-replaced': bad('Nothing to send again: its numbers belong to a session that is over. Ask the application what it did about it.'),
  'session-ended': bad('Nothing here: its session was over. Ask the application why it ended the session while something was under way.'),
  'waiting-full': again('Have the user sign in once; then send it again. More waited for the first session than is kept.'),
  'sessions-full': again('Find out why the user has so many devices; then send it again. The device that it was for lost its place to another one.'),
  throttled: wait('Nothing here: its client sends it again, more slowly.'),
  'ledger-unavailable': wait('Look at the condition ledger on the overview; its client sends it again.'),
  open: nothing('Nothing: the connection is open.'),
  skipped: again('Mend the application: it failed at this message at every try. Then send it again.'),
  'not-acked': wait('Wait for the ack. If it does not come, look at the application: it has the message and has not said that it is done.'),
  'not-written': wait('Wait: the connection is open, and its socket takes nothing just now. A device that reads too slowly is closed and resumes.'),
  waiting: wait('Nothing: the user has never connected with a device that it is for. It is delivered at the first connect.'),
  offline: wait('Nothing: it is delivered when the device connects again, before its time to live is over.'),
  unacked: wait('Nothing: the device had it and did not ack it; it gets it again at its next connect.'),
  unwritten: wait('Nothing: the device did not get it; it does at its next connect.'),
  unreported: wait('Nothing: nobody can say whether the device got it; it gets it again at its next connect, and drops a repeat.'),
  closing: wait('Wait: its edge is about to confirm the end.'),
  expired: again('Send it again if it still matters, with a longer time to live: nobody took it in time.'),
  recalled: nothing('Nothing: its sender took it back before any device could get it.'),
  'outbox-full': again('Find out why the device acks nothing; then send it again. Its outbox had no room.'),
  'no-target': bad('Look at the platforms and devices that the request named: the user has none of them.'),
  conflict: bad('Give each message an id of its own: this one was taken for another payload.'),
  rejected: bad('Correct the command, and send it under the same id: it was refused before it reached the ledger.'),
  'never-requested': bad('Ask the business service what the gateway answered: no request with this id reached the ledger for this user.'),
  'unknown-user': bad('Check the user id, and the app: the ledger has no entry of this user.'),
  'no-session': bad('Check the id of the session: the user has none of this name.'),
  'no-connection': bad('Check the id of the connection: the user has none of this name.'),
  'not-kept': bad('Look in a backup or in the exported history: retention has deleted the entries that would tell.'),
}

export function adviceFor ({ code }: Verdict): Advice {
  return byCode[code] ?? bad('See what the verdict says, and docs/errors.md for its code.')
}

/** By code of the verdict on a post. */
const ofPosts: Readonly<Record<string, Advice>> = {
  delivered: nothing('Nothing: each node with members has given it to them. Posts are not acked: if a user lacks it, look at the application of that user.'),
  'not-reported': wait('Wait for half a minute: a node has yet to say that it gave it to its members. If it is late, look at the conditions of that node.'),
  unreported: wait('Nothing: a node was lost before it said so. Its clients join again elsewhere, and get what they lack.'),
  'left-before': nothing('Nothing: the last member had just left. A member that joins gets it for as long as the room keeps it.'),
  'no-members': nothing('Nothing: nobody was in the room. A member that joins gets it for as long as the room keeps it.'),
  unpublished: bad('Look at the condition posts on the overview: the stream does not take it just now.'),
  unposted: bad('Look at the condition uplinks on the overview: it was accepted as an uplink, and rooms do not take it just now.'),
  'room-closed': bad('Nothing: the room was closed before. Post in another one.'),
  repeated: bad('Look whether ledgers of two gateways were mixed: an uplink came behind posts that stand after it.'),
  rejected: bad('Correct the command, and send it under the same id: it was refused before it reached the room.'),
  'never-posted': bad('Ask the business service what the gateway answered: no request with this id reached the room.'),
  'unknown-room': bad('Check the id of the room, and the app: the gateway has no entry of it.'),
  'not-kept': bad('Look in a backup: retention has deleted the entries that would tell.'),
}

export function adviceForPost ({ code }: Verdict): Advice {
  return ofPosts[code] ?? bad('See what the verdict says, and docs/errors.md for its code.')
}
