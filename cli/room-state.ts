import { formatMoment, type Moment } from '../evidence/moment.js'
import { type PostView, type RoomNodeView, roomStateAt, type RoomView, shownRoom } from '../evidence/rooms/state.js'
import { roomChangesBetween } from '../evidence/state-changes.js'
import { userInWords } from '../schemas/apps.js'
import { timeText } from './moment.js'
import { asOfText, knownText, type Shown } from './shown.js'

/** Posts that are told for people; `--json` has all that are kept. */
const toldMax = 10

/** `ledgerline state --room`. */
export function shownRoomState (roomId: string): Shown<RoomView> {
  return {
    named: shownRoom(roomId),
    at: (log, moment) => roomStateAt(log, roomId, moment),
    describe,
    changes: roomChangesBetween,
    unknown: isCut => `no entry of the stream rooms${isCut ? ' that is kept' : ''} is of a room ${userInWords(roomId)}`,
    nameOf: ({ roomId }) => roomId,
  }
}

function describe (view: RoomView, moment: Moment | undefined): string {
  const { roomId, roomSeq, keptAfter, closed, closeReason, nodes, posts } = view
  const told = posts.slice(-toldMax)
  return [
    `${roomId} ${moment === undefined ? 'now' : `at ${formatMoment(moment)}`}, ${asOfText(view)}`,
    ...knownText(view, 'The stream rooms'),
    `posts: ${roomSeq}, of which ${roomSeq - keptAfter} are kept for who joins`,
    ...closed ? [`closed${closeReason === '' ? '' : `: ${closeReason}`}`] : [],
    ...nodes.length > 0 ? ['', 'nodes that have members:'] : [],
    ...nodes.map(describeNode),
    ...told.length > 0 ? ['', told.length < posts.length ? `the last ${told.length} that are kept:` : 'kept:'] : [],
    ...told.map(describePost),
    '',
  ].join('\n')
}

function describeNode (node: RoomNodeView): string {
  const { nodeId, nodeEpoch, interest, joinedAtMs, deliveredSeq, deliveredAtMs, members, behind, gone } = node
  const given = deliveredAtMs === 0
    ? 'has not told what it gave them'
    : `gave ${members} of them all up to ${deliveredSeq}${behind === 0 ? '' : `, but ${behind} that read slowly`}, as told ` +
      timeText(deliveredAtMs)
  return `  ${nodeId} (epoch ${nodeEpoch}, interest ${interest}) since ${timeText(joinedAtMs)}; ${given}` +
    (gone === '' ? '' : `; it is gone (${gone})`)
}

function describePost ({ roomSeq, messageId, from, service, payloadBytes, postedAtMs }: PostView): string {
  const who = from === '' ? 'business' : from
  return `  #${roomSeq}  ${messageId} by ${who}${service === '' ? '' : ` [${service}]`}, ${payloadBytes} bytes, ` +
    `posted ${timeText(postedAtMs)}`
}
