import type { RoomFellSilent } from '../../schemas/room-facts.js'
import type { RoomState } from './state.js'

/** Asks a room whether it is silent. Within one process. */
export interface AskSilence {
  readonly type: 'askSilence'
  readonly partition: number
  readonly roomId: string
  /** It is where nobody has used it since then, ms since 1970. */
  readonly beforeMs: number
  /** Told at most once, with undefined where it is not, or has nothing to let go of. */
  answer (fact: RoomFellSilent | undefined): void
}

/** What is to be told the stream of a room that nobody has used since `beforeMs`. */
export function silenceOf (state: RoomState, beforeMs: number): RoomFellSilent | undefined {
  const { tail, requests, nodes, left, usedAtMs } = state
  if (nodes.size > 0 || usedAtMs >= beforeMs) return undefined
  if (tail.posts.length === 0 && requests.size === 0 && left.size === 0) return undefined
  return { type: 'RoomFellSilent', roomSeq: tail.roomSeq, sinceMs: usedAtMs }
}
