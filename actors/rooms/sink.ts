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
        const posts = block.derived[0] ??= []
        posts.push(post)
        // A node that misses one asks for it, by its number.
        if (history || state.nodes.size === 0) return
        if (this.#bytes + post.payload.length > messageBytesMax) this.flush()
        this.#roomId = post.roomId
        this.#posts.push(sentPost(post))
        this.#bytes += post.payload.length
        return
      }
      case 'joined': {
        if (history) return // it asks again
        const { roomId, nodeId, interest } = effect
        this.#send(nodeId) // its tail has them
        sendTail(this.#links, roomId, nodeId, interest, state, 0, tailBytesMax)
        this.#nodes.endGone(roomId, state)
        return
      }
      case 'closed': {
        // Its nodes are forgotten already, and this one was still to get these. One before it may have been lost.
        const { roomId, nodeId, interest } = effect
        this.#sendTo(nodeId)
        sendTail(this.#links, roomId, nodeId, interest, state, 0, tailBytesMax)
      }
    }
  }

  /** Sends the posts that are still being collected. */
  flush (): void { this.#send('') }

  #send (exceptNodeId: string): void {
    if (this.#posts.length === 0) return
    for (const [nodeId] of this.#nodes.living(this.#roomId, this.#turn.state)) {
      if (nodeId !== exceptNodeId) this.#sendTo(nodeId)
    }
    this.#posts = []
    this.#bytes = 0
  }

  #sendTo (nodeId: string): void {
    if (this.#posts.length === 0) return
    this.#links.toMembers({ type: 'roomPosts', nodeId, roomId: this.#roomId, posts: this.#posts })
  }
}
