import type { Broadcast } from '../broadcasts/known.js'
import type { BroadcastTracer } from '../edge/broadcasts.js'
import { now, type Tracing } from './tracing.js'

/** The span of a broadcast on an edge: from its request until that edge has done with it. */
export class TracedBroadcasts implements BroadcastTracer {
  readonly #tracing: Tracing

  constructor (tracing: Tracing) { this.#tracing = tracing }

  begun ({ app, messageId, requestedAtMs }: Broadcast): ReturnType<BroadcastTracer['begun']> {
    const context = this.#tracing.contextOfBroadcast(app, messageId)
    if (!context) return undefined
    return ({ state, sent, slow, left }) => {
      this.#tracing.add(context, 'broadcast deliver', 'producer', requestedAtMs, Math.max(now(), requestedAtMs), {
        'messaging.message.id': messageId,
        'ledgerline.state': state,
        'ledgerline.sent': sent,
        'ledgerline.slow': slow,
        'ledgerline.left': left,
      })
    }
  }
}
