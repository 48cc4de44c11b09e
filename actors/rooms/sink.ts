import type { Sink, Turn } from '../kind.js'
import type { Links } from '../links.js'
import type { RoomPost } from '../room-links.js'
import { sendTail, sentPost } from './answers.js'
import type { RoomEffect } from './fold.js'
import type { RoomTypes } from './kind.js'
import type { Nodes } from './nodes.js'
import { tailBytesMax } from './tail.js'

/** A message to a node has posts of so many bytes of payload, or one: a batch of links is not made for more. */
const messageBytesMax = 256 << 10

/** Performs the effects of one message: the posts of one turn go to each node together. */
export class RoomSink implements Sink<RoomEffect> {
  readonly rest = undefined
  readonly #turn: Turn<RoomTypes>
  readonly #links: Links
  readonly #nodes: Nodes
  #roomId = ''
  #posts: RoomPost[] = []
  #bytes = 0

  constructor (turn: Turn<RoomTypes>, links: Links, nodes: Nodes) {
    this.#turn = turn
    this.#links = links
    this.#nodes = nodes
  }

  perform (effect: RoomEffect): void {
    const { block, history, state } = this.#turn
    switch (effect.type) {
      case 'post': {
        const { post } = effect
        block.derived.push(post)
        // A node that misses one asks for it, by its number.
        if (history || state.nodes.size === 0) return
        if (this.#bytes + post.payload.length > messageBytesMax) this.flush()
        this.#roomId = post.roomId
        this.#posts.push(sentPost(post))
        this.#bytes += post.payload.length
        return
      }
      case 'joined':
      case 'closed': {
        if (history && effect.type === 'joined') return // it asks again
        const { roomId, nodeId, interest } = effect
        this.#send(nodeId) // its tail has them
        const afterSeq = effect.type === 'closed' ? Infinity : 0
        sendTail(this.#links, roomId, nodeId, interest, state, afterSeq, tailBytesMax)
      }
    }
  }

  /** Sends the posts that are still being collected. */
  flush (): void { this.#send('') }

  #send (exceptNodeId: string): void {
    if (this.#posts.length === 0) return
    const posts = this.#posts
    for (const [nodeId] of this.#nodes.living(this.#roomId, this.#turn.state)) {
      if (nodeId === exceptNodeId) continue
      this.#links.toMembers({ type: 'roomPosts', nodeId, roomId: this.#roomId, posts })
    }
    this.#posts = []
    this.#bytes = 0
  }
}
