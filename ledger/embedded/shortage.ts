import { reserves, type Headroom } from './headroom.js'

/** One huge append that finds no room keeps others waiting for no more than this. */
const refusedBytesMax = 2 << 20
const probeMs = 500

/** What could not be written because the disk had no room for it, and looking for that room. */
export class Shortage {
  /** What derived writes want and the file does not have; 0 where they lack nothing. */
  private derivedBytes = 0
  /** What of the headroom they must leave. */
  private derivedReserve: number = reserves.derived
  private triedMs = 0
  /** Derived writes wait that were not tried since. */
  private derivedWaits = false
  private othersBytes = 0
  /** The disk was asked for it and has no room. */
  private full = false
  private probe: NodeJS.Timeout | undefined

  /**
   * @param found some of what lacked room has it now, or is to be tried again
   * @param look called every now and then while a store refuses: `find`, where it lacks room
   */
  constructor (
    private readonly headroom: Headroom,
    private readonly found: (derivedToo: boolean) => void,
    private readonly look: () => void
  ) {}

  get isFull (): boolean { return this.full }
  get hasDerived (): boolean { return this.derivedBytes > 0 }
  get isShort (): boolean { return this.derivedBytes > 0 || this.othersBytes > 0 }

  /** What appends need room for: after a refusal all wait for as much, or some of a client's uplinks would find it. */
  neededBy (othersBytes: number): number { return Math.max(othersBytes, this.othersBytes) }

  /** Derived writes are left out, for want of room in the file; whether the disk has it is to be found out. */
  leaveOut (derivedBytes: number, reserve: number): void {
    this.derivedBytes = derivedBytes
    this.derivedReserve = reserve
    this.triedMs = performance.now()
    this.find()
  }

  /** What they want may have become less: acks let go of downlinks that were to be saved. */
  mayTryDerived (): boolean {
    this.derivedWaits = performance.now() - this.triedMs < probeMs
    return !this.derivedWaits
  }

  /** They have found room. */
  takeDerived (): void {
    this.derivedBytes = 0
    this.derivedWaits = false
    this.full &&= this.isShort
  }

  /** The disk has no room for appends of so many bytes; what is derived may have it. */
  refuse (othersBytes: number): void {
    this.othersBytes = Math.max(this.othersBytes, Math.min(othersBytes, refusedBytesMax))
    this.full = this.isShort
  }

  /** Nobody appends to a store that refuses, so it finds out by itself that there is space again. */
  lookLater (): void {
    clearTimeout(this.probe)
    this.probe = setTimeout(this.look, probeMs).unref()
  }

  /** Asks the disk for what is lacking. */
  find (): void {
    this.roomFor(this.derivedBytes, this.derivedReserve).then(async hasRoom => {
      if (hasRoom) this.derivedBytes = 0
      if (await this.roomFor(this.othersBytes, reserves.others)) this.othersBytes = 0
      this.full = this.isShort
      if (this.full) this.lookLater()
      this.found(hasRoom || this.derivedWaits)
    })
  }

  close (): void { clearTimeout(this.probe) }

  private async roomFor (bytes: number, reserve: number): Promise<boolean> {
    return bytes === 0 || await this.headroom.reach(bytes, reserve)
  }
}
