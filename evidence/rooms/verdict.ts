import type { LogReader } from '../../ledger/log.js'
import { appOf, userIdOf, userInWords, userKey } from '../../schemas/apps.js'
import type { Beginning } from '../beginning.js'
import { operatorInWords } from '../lines.js'
import { findGone, findRejected } from '../surroundings.js'
import { notKept, timeOf, type Verdict } from '../trace.js'
import { goneInWords } from '../uplink.js'
import { acceptedUplink } from './origin.js'
import type { Delivered, Stay } from './stays.js'

/** What the stream `rooms` tells of one post. */
export interface PostFate {
  isRoomKnown: boolean
  /** Requests of the same id behind the first one. */
  repeats: number
  refused: { readonly atMs: number, readonly code: 'room-closed' | 'repeated' } | undefined
  closed: { readonly atMs: number, readonly reason: string, readonly by: string } | undefined
  numbered: Numbered | undefined
}

export interface Numbered {
  readonly atMs: number
  readonly roomSeq: number
  /** Those that had members then. */
  readonly nodes: readonly Stay[]
  /** Where it stands in `posts`; undefined where it does not yet. */
  readonly published: string | undefined
  /** What nodes said first of having given it. */
  given?: Map<Stay, Delivered>
}

/** A node tells within 30 s what it gave; the sweep that does so, and the ledger, may take as long again. */
const toldWithinMs = 60_000

/**
 * @param nowMs the time up to which the verdict is given
 * @param begins where retention has deleted what was before; null where the stream is kept from its very beginning
 */
export async function verdictOfPost (
  log: LogReader, roomId: string, messageId: string, fate: PostFate, nowMs: number, begins: Beginning | null
): Promise<Verdict> {
  const { numbered, refused } = fate
  if (numbered) return await verdictOfNumbered(log, numbered, fate, nowMs, begins)
  if (refused) return refusedWith(refused, fate)
  const rejected = await findRejected(log, messageId, command =>
    command.roomId === userIdOf(roomId) && command.app === appOf(roomId))
  if (rejected) {
    const { position, atMs, code, reason } = rejected
    const text = `Never posted: the command was rejected at ${timeOf(atMs)} with ${code}, ${reason} ` +
      `(downlinks.rejected ${position}). Mend the command and send it with a new id.`
    return { code: 'rejected', cause: code, text }
  }
  return await unposted(log, roomId, messageId, fate, begins)
}

async function verdictOfNumbered (
  log: LogReader, numbered: Numbered, { repeats }: PostFate, nowMs: number, begins: Beginning | null
): Promise<Verdict> {
  const { atMs, roomSeq, nodes, published } = numbered
  const repeated = repeats === 0 ? '' : ' It was requested again with the same id: the first one stands.'
  const text = `Numbered as ${roomSeq} of the room at ${timeOf(atMs)}`
  const cause = repeats > 0 ? 'duplicate' : ''
  if (!published) {
    return {
      code: 'unpublished',
      cause,
      text: `${text}, and not in the stream posts yet: the owner of the room writes it with its next commit. Where ` +
        `that lasts, the condition posts tells why (/readyz, ledgerline lag).${repeated}`,
    }
  }
  const where = `${text}, and published at ${published}`
  if (nodes.length === 0 && begins) return notKept(`${where}. No node is known to have had members`, begins, 'the stream rooms')
  if (nodes.length === 0) {
    return {
      code: 'no-members',
      cause,
      text: `${where}. No node had members then, so nobody was given it. Who joins is given it for as long as the ` +
        `room keeps it.${repeated}`,
    }
  }
  const told = await Promise.all(nodes.map(stay => nodeVerdict(log, numbered, stay, nowMs)))
  const worst = order.flatMap(code => told.find(each => each.code === code) ?? [])[0]!
  const texts = told.map(({ text }) => text).join(' ')
  return { code: worst.code, cause: worst.cause || cause, text: `${where}. ${texts}${repeated}` }
}

/** What is to be told first. */
const order = ['unreported', 'not-reported', 'delivered', 'left-before']

async function nodeVerdict (
  log: LogReader, { roomSeq, atMs, given }: Numbered, stay: Stay, nowMs: number
): Promise<Verdict> {
  const { nodeId, nodeEpoch, end } = stay
  const delivered = given?.get(stay)
  if (delivered) {
    const { members, behind, atMs } = delivered
    const told = `${nodeId} had given it to its ${members} members by ${timeOf(atMs)}`
    return behind === 0
      ? { code: 'delivered', cause: '', text: `${told}.` }
      : { code: 'delivered', cause: 'behind', text: `${told}, but ${behind} that read slowly: each gets it once it reads.` }
  }
  if (end?.code === 'left') {
    const text = `${nodeId}: its last member had left, and it said so at ${timeOf(end.atMs)}.`
    return { code: 'left-before', cause: '', text }
  }
  const comeBack = 'whoever was in the room there joins again with the last post that it has, and is given what it lacks, ' +
    'or told how many posts are gone'
  if (end) {
    const text = `${nodeId} was lost before it said whether it gave it to its members, as the stream tells since ` +
      `${timeOf(end.atMs)}; ${comeBack}.`
    return { code: 'unreported', cause: 'node-lost', text }
  }
  const gone = await findGone(log, nodeId, nodeEpoch, nowMs)
  if (gone) return { code: 'unreported', cause: gone.code, text: `${nodeId} ${goneInWords(gone)}; ${comeBack}.` }
  const upTo = stay.delivered ? `up to ${stay.delivered.roomSeq}` : 'nothing so far'
  if (nowMs - atMs <= toldWithinMs) {
    const text = `${nodeId} has told ${upTo}, and tells within 30 s whether it has given ${roomSeq} to its members.`
    return { code: 'not-reported', cause: '', text }
  }
  return {
    code: 'not-reported',
    cause: 'late',
    text: `${nodeId} lives and has told ${upTo}, which is late: it has not had the post, or can not write to the ` +
      'ledger. See its /readyz, and ledgerline doctor for the links between nodes; it asks for what it lacks every 5 s.',
  }
}

function refusedWith (
  { atMs, code }: NonNullable<PostFate['refused']>, { closed }: PostFate
): Verdict {
  if (code === 'repeated') {
    const text = `Not posted: at ${timeOf(atMs)} the room had posts of uplinks that stand behind this one in ` +
      'the ledger, and took it for a repeat. Streams of two ledgers were put together, or the gateway has a defect: ' +
      'ledgerline audit tells of more.'
    return { code, cause: '', text }
  }
  const by = closed ? `, at ${timeOf(closed.atMs)}, as ${operatorInWords(closed.by)} wanted` : ''
  const reason = closed && closed.reason !== '' ? `: ${closed.reason}` : ''
  return {
    code,
    cause: '',
    text: `Refused at ${timeOf(atMs)} with room-closed: the room was closed before${by}${reason}. A room that is ` +
      'closed stays so: post in another one.',
  }
}

async function unposted (
  log: LogReader, roomId: string, messageId: string, { isRoomKnown }: PostFate, begins: Beginning | null
): Promise<Verdict> {
  const of = /^(.+)\/([1-9]\d{0,14})$/.exec(messageId)
  const uplink = of ? await acceptedUplink(log, userKey(appOf(roomId), of[1]!), Number(of[2])) : undefined
  if (uplink?.uplink.roomId === userIdOf(roomId)) {
    return {
      code: 'unposted',
      cause: '',
      text: `Accepted at ${timeOf(uplink.atMs)} as an uplink of ${of![1]} (ledger ${uplink.position}), and not in ` +
        'the stream rooms yet: the owner of that partition writes it there before its next checkpoint. Where that lasts, ' +
        'the condition uplinks tells why (/readyz, ledgerline lag).',
    }
  }
  if (uplink) {
    const { roomId: named } = uplink.uplink
    const where = named === '' ? 'names no room' : `is one in the room ${named}`
    const text = `Uplink ${of![2]} of ${of![1]} (ledger ${uplink.position}) ${where}.`
    return { code: 'never-posted', cause: '', text }
  }
  if (begins) return notKept(`No post with the id ${messageId} stands for this room`, begins, 'the stream rooms')
  if (!isRoomKnown) {
    return { code: 'unknown-room', cause: '', text: `No entry of the stream rooms is of a room ${userInWords(roomId)}.` }
  }
  return {
    code: 'never-posted',
    cause: '',
    text: `No post with the id ${messageId} stands in the room ${userIdOf(roomId)}: nobody asked for it, or whoever ` +
      'did was answered with an error, or it was a signal, which is never stored. The post of an uplink has the id ' +
      'USER/USERSEQ.',
  }
}
