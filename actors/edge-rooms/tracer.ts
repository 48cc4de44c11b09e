import type { RoomPost } from '../room-links.js'
import type { EdgeRoom } from './room.js'

/** Told of the way of posts to the members on this node, where some messages are traced. */
export interface RoomTracer {
  /** Their owner has sent these, the next ones of the room. */
  received (room: EdgeRoom, posts: readonly RoomPost[]): void
  /** All members that read were given the posts up to `room.passedSeq`. */
  passed (room: EdgeRoom): void
}
