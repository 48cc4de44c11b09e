import { GatewayError } from '../schemas/errors.js'

/** Of `bytesMax`, what is kept for what the gateway must write itself. */
const reservedShare = 1 / 4

/** What one destination, a partition of a stream, has of it. */
export interface Share {
  /** Of clients and services. */
  sent: number
  /** What the gateway itself must write. */
  own: number
}

/**
 * Bytes of appends without an outcome, whether they wait or a commit has begun to write them.
 *
 * Clients and services fill at most three quarters; the rest is kept for what the gateway itself must write. And a
 * destination takes no more than it leaves free: one that is busy has half, each of two a third, and there is always
 * something left for the next one.
 */
export class Pending {
  bytes = 0

  constructor (private readonly bytesMax: number) {}

  /** @throws GatewayError `ledger-unavailable` */
  take (share: Share, bytes: number, own: boolean): void {
    const bytesMax = own ? this.bytesMax : this.sentBytesMax
    const kind = own ? 'own' : 'sent'
    const free = bytesMax - this.bytes
    // What is alone has no neighbour to take room from: the bound of one append is its caller's.
    const fits = this.bytes === 0 || (bytes <= free && (share[kind] === 0 || share[kind] + bytes <= free))
    if (!fits) {
      throw new GatewayError('ledger-unavailable',
        `${this.bytes} bytes wait to be written, ${share[kind]} of them here, want at most ${bytesMax}`)
    }
    this.bytes += bytes
    share[kind] += bytes
  }

  release (share: Share, bytes: number, own: boolean): void {
    this.bytes -= bytes
    share[own ? 'own' : 'sent'] -= bytes
  }

  /** Clients and services find next to no room, wherever they send: seven destinations are as busy as they can be. */
  get full (): boolean { return this.bytes >= this.sentBytesMax * 7 / 8 }

  private get sentBytesMax (): number { return this.bytesMax * (1 - reservedShare) }
}
