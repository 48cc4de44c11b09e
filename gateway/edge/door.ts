import type { ErrorCode } from '../../schemas/errors.js'
import { type Admission, waitMaxMs } from './admission.js'
import type { AddressList } from './clients.js'
import type { Descriptors } from './descriptors.js'
import type { Edge } from './edge.js'
import { networkOf } from './network.js'

/** A client that the node has no room for waits this long at least, and up to twice that: not all the same. */
const fullRetryMs = 5_000

/** What all addresses together are counted as. */
const everybody = ''

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
  /**
   * @param total of all addresses together, which it knows as one
   * @param uncounted addresses that have no rate of their own, nor any other bound of an address
   * @param refused told of each refusal, for a metric
   */
  constructor (
    readonly edge: Edge, readonly admission: Admission, readonly total: Admission, readonly descriptors: Descriptors,
    readonly uncounted: AddressList | undefined, readonly refused: (code: Refusal['code'] | 'bad-origin') => void
  ) {}

  /** What an address counts as where clients are counted by address; undefined where it is not counted. */
  countsAs (ip: string): string | undefined { return this.uncounted?.has(ip) ? undefined : networkOf(ip) }

  /**
   * @param ip of the client
   * @param fd number of its descriptor; -1 where that is not known
   * @returns undefined to let it in
   */
  refusal (ip: string, fd: number): Refusal | undefined {
    const network = this.countsAs(ip)
    const isShort = this.descriptors.areShort(fd)
    const waitMs = network === undefined ? 0 : this.admission.waitMs(network)
    if (waitMs > 0) return this.#wait('rate-limited', 'this address opens connections too fast', waitMs, !isShort)
    const totalMs = this.total.waitMs(everybody)
    if (totalMs > 0) return this.#wait('redirected', 'this node takes no more connections a second', totalMs, !isShort)
    if (!isShort && this.edge.handshakes.hasRoom(network)) return undefined
    return this.#redirect(!isShort)
  }

  /** The same of a socket whose client is not known yet. */
  shortage (fd: number): Refusal | undefined {
    return this.descriptors.areShort(fd) ? this.#redirect(false) : undefined
  }

  /** @param waitMs Infinity for one that is refused without a word */
  #wait (code: Refusal['code'], reason: string, waitMs: number, mayLinger: boolean): Refusal {
    this.refused(code)
    return { code, reason, retryAfterMs: Math.min(waitMs, waitMaxMs), mute: waitMs === Infinity, mayLinger }
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
