import type { Links } from '../links.js'
import { nameOf } from '../requests.js'
import type { AskRoom, RoomPost, RoomQuestion } from '../room-links.js'
import type { Nodes } from './nodes.js'
import type { RoomState } from './state.js'
import { type KeptPost, tailBytesMax } from './tail.js'

/** Answers a question, which changes nothing. */
export function answerRoom (question: RoomQuestion, state: RoomState, links: Links, nodes: Nodes): void {
  switch (question.type) {
    case 'askRoom': answerNode(question, state, links); return
    case 'askRoomInfo': {
      const { roomId, nodeId, askId } = question
      const { roomSeq, keptAfter } = state.tail
      const living = Array.from(nodes.living(roomId, state), ([nodeId]) => nodeId)
      links.toAsker({ type: 'roomKnown', nodeId, askId, roomSeq, keptAfter, nodes: living, closed: state.closed })
      return
    }
    case 'askPost': {
      const { nodeId, askId, messageId, content } = question
      links.toAsker({ type: 'requestKnown', nodeId, askId, known: state.requests.look(nameOf.post(messageId), content) })
      return
    }
    case 'askPosts': {
      const { nodeId, askId, afterSeq, postsMax } = question
      const { tail } = state
      const kept = tail.after(afterSeq, tailBytesMax)
      const posts = kept.slice(0, postsMax).map(sentPost)
      links.toAsker({ type: 'postsKnown', nodeId, askId, keptAfter: tail.roomSeq - kept.length, posts })
      return
    }
    case 'askPostTime': {
      const { nodeId, askId, roomSeq } = question
      const postedAtMs = state.times.before(roomSeq)
      links.toAsker({ type: 'postTimeKnown', nodeId, askId, roomSeq: state.tail.roomSeq, postedAtMs })
      return
    }
    case 'signalRoom': {
      const { roomId, service, payload } = question
      for (const [nodeId] of nodes.living(roomId, state)) {
        links.toMembers({ type: 'roomSignal', nodeId, roomId, service, payload })
      }
    }
  }
}

/** An interest that is not known here is under way, or was lost with the end of an earlier one. */
function answerNode (question: AskRoom, state: RoomState, links: Links): void {
  const { roomId, nodeId, nodeEpoch, interest, afterSeq, bytesMax } = question
  const known = state.nodes.get(nodeId)
  // A room that is closed knows of none, and of what it had its members may still lack some.
  if (state.closed || (known && known.nodeEpoch === nodeEpoch && known.interest === interest)) {
    sendTail(links, roomId, nodeId, interest, state, afterSeq, bytesMax)
  }
}

/** Tells a node the posts after `afterSeq`, up to `bytesMax` bytes of payload. */
export function sendTail (
  links: Links, roomId: string, nodeId: string, interest: number, state: RoomState, afterSeq: number, bytesMax: number
): void {
  const { tail, closed, closeReason } = state
  const kept = tail.after(afterSeq, bytesMax)
  links.toMembers({
    type: 'roomTail',
    nodeId,
    roomId,
    interest,
    roomSeq: tail.roomSeq,
    keptAfter: tail.roomSeq - kept.length,
    posts: kept.map(sentPost),
    closed,
    reason: closeReason,
  })
}

/** Of a room that is set aside, whose members can wait for nothing. */
export function tellUnusable (links: Links, roomId: string, nodeId: string, interest: number): void {
  links.toMembers({
    type: 'roomTail',
    nodeId,
    roomId,
    interest,
    roomSeq: 0,
    keptAfter: 0,
    posts: [],
    closed: true,
    reason: 'the state of this room can not be used',
  })
}

export function sentPost ({ roomSeq, messageId, from, service, payload, postedAtMs }: KeptPost): RoomPost {
  return { roomSeq, messageId, from, service, payload, postedAtMs, encoded: new Map() }
}
