import type { ErrorCode } from '../../schemas/errors.js'
import { type Admission, waitMaxMs } from './admission.js'
import type { Descriptors } from './descriptors.js'
import type { Edge } from './edge.js'
import { networkOf } from './network.js'

/** A client that the node has no room for waits this long at least, and up to twice that: not all the same. */
const fullRetryMs = 5_000

/** Why a socket can't come in; its client is told, and comes back. */
export interface Refusal {
  /** `redirected`: another node may have room. */
  readonly code: ErrorCode & ('rate-limited' | 'redirected')
  readonly reason: string
  readonly retryAfterMs: number
  /** It is one of so many that an answer is not worth the work. */
  readonly mute: boolean
  /** It may stay for a moment, for its client to read why. */
  readonly mayLinger: boolean
}

/** What stands at accept, on either transport: may this socket begin its handshake? */
export class Door {
  /** @param refused told of each refusal, for a metric */
  constructor (
    readonly edge: Edge, readonly admission: Admission, readonly descriptors: Descriptors,
    readonly refused: (code: Refusal['code']) => void
  ) {}

  /** What an address counts as where clients are counted by address. */
  countsAs (ip: string): string { return networkOf(ip) }

  /**
   * @param ip of the client
   * @param fd number of its descriptor; -1 where that is not known
   * @returns undefined to let it in
   */
  refusal (ip: string, fd: number): Refusal | undefined {
    const network = this.countsAs(ip)
    const isShort = this.descriptors.areShort(fd)
    const waitMs = this.admission.waitMs(network)
    if (waitMs > 0) {
      this.refused('rate-limited')
      return {
        code: 'rate-limited',
        reason: 'this address opens connections too fast',
        retryAfterMs: Math.min(waitMs, waitMaxMs),
        mute: waitMs === Infinity,
        mayLinger: !isShort,
      }
    }
    if (!isShort && this.edge.handshakes.hasRoom(network)) return undefined
    return this.#redirect(!isShort)
  }

  /** The same of a socket whose client is not known yet. */
  shortage (fd: number): Refusal | undefined {
    return this.descriptors.areShort(fd) ? this.#redirect(false) : undefined
  }

  #redirect (mayLinger: boolean): Refusal {
    this.refused('redirected')
    return {
      code: 'redirected',
      reason: 'this node has no room for another connection',
      retryAfterMs: Math.ceil(fullRetryMs * (1 + Math.random())),
      mute: false,
      mayLinger,
    }
  }
}
