import type { EdgeRoom } from '../../actors/edge-rooms/room.js'
import type { RoomTracer } from '../../actors/edge-rooms/tracer.js'
import type { RoomPost } from '../../actors/room-links.js'
import type { SpanContext } from './context.js'
import { now, type Tracing } from './tracing.js'

interface UnderWay { readonly post: RoomPost, readonly context: SpanContext }

/** Of one room: past it nothing more is traced until members have some. */
const underWayMax = 64

/** The spans of posts on an edge, one for all its members: a post may go to thousands. */
export class TracedRooms implements RoomTracer {
  readonly #tracing: Tracing
  readonly #underWay = new WeakMap<EdgeRoom, UnderWay[]>()

  constructor (tracing: Tracing) { this.#tracing = tracing }

  received (room: EdgeRoom, posts: readonly RoomPost[]): void {
    for (const post of posts) {
      const context = this.#tracing.contextOfPost(room.key, post.messageId, post.from)
      if (!context) continue
      const underWay = this.#underWay.get(room) ?? []
      if (underWay.length < underWayMax) underWay.push({ post, context })
      this.#underWay.set(room, underWay)
    }
  }

  passed (room: EdgeRoom): void {
    const underWay = this.#underWay.get(room)
    if (!underWay) return
    const writtenMs = now()
    for (const { post: { roomSeq, messageId, postedAtMs }, context } of underWay) {
      if (roomSeq > room.passedSeq) continue
      this.#tracing.add(context, 'post deliver', 'producer', postedAtMs, Math.max(writtenMs, postedAtMs), {
        'messaging.message.id': messageId,
        'ledgerline.room': room.roomId,
        'ledgerline.seq': roomSeq,
        'ledgerline.members': room.members.size,
      })
    }
    const left = underWay.filter(({ post }) => post.roomSeq > room.passedSeq)
    if (left.length > 0) this.#underWay.set(room, left)
    else this.#underWay.delete(room)
  }
}
