import { type Allowance, earn } from './allowance.js'

/** Rooms that a user may begin at once, and how many more each second. */
const burst = 1_000
const rate = 1

/** Bytes of the rooms that he posted in of late, their ids and 64 for each. */
const bytesMax = 256 << 10
const entryBytes = 64

/** Rooms that a user posts in as the first one, as far as his node knows: of each something is kept for ever. */
export class BegunRooms {
  readonly #allowance: Allowance
  /** Those that he posted in of late, the latest last: in them he is not the first one. */
  readonly #known = new Set<string>()
  #bytes = 0

  constructor (nowMs: number) { this.#allowance = { allowance: burst, allowanceAtMs: nowMs } }

  /** @returns true where he may begin as many as ever */
  earn (nowMs: number): boolean { return earn(this.#allowance, rate, burst, nowMs) }

  /** @returns ms until he may post there; 0 for now */
  waitMs (roomId: string, nowMs: number): number {
    if (this.#known.has(roomId)) return 0
    this.earn(nowMs)
    const { allowance, allowanceAtMs } = this.#allowance
    return allowance > 0 ? 0 : Math.max(1, allowanceAtMs + 1000 / rate - nowMs)
  }

  /** He posts there. @param isNew false where the room is known to have posts */
  posts (roomId: string, isNew: boolean): void {
    const isKnown = this.#known.delete(roomId)
    this.#known.add(roomId)
    if (isKnown) return
    if (isNew) this.#allowance.allowance--
    this.#bytes += roomId.length + entryBytes
    for (const oldest of this.#known) {
      if (this.#bytes <= bytesMax) break
      this.#known.delete(oldest)
      this.#bytes -= oldest.length + entryBytes
    }
  }
}
