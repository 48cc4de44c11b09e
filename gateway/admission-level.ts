import { rankOf, ranksMax } from '../actors/connection/priority.js'

/** Parts that users are dealt into, another way each hour: it does not always meet the same. */
export const userParts = 128

const places = ranksMax * userParts

/** What was counted is worth half as much after so long. */
const halfLifeMs = 2_000

/** Where less was counted, nobody is. */
const countMin = 0.5

const hourMs = 3_600_000

/**
 * The place of every uplink is its priority, and within it the part of its user; uplinks at or above the level are let
 * in (after DAGOR, see docs/decisions/0028-overload.md). How far the level must move for so much more or less to be let
 * in, a histogram of what came says.
 */
export class AdmissionLevel {
  #level = 0
  #seed = 0
  readonly #counts = new Float64Array(places)

  constructor (readonly atMs: () => number = Date.now) { this.#seed = this.#hour }

  /** 0: everybody is let in. Below it are all uplinks that are not. */
  get level (): number { return this.#level }

  /** Priorities that are refused, and of the next one the share of users; 0 for nobody. */
  get height (): number { return this.#level / userParts }

  isIn (userId: string, priority: number): boolean { return this.#placeOf(userId, priority) >= this.#level }

  /**
   * The same, and the uplink counts. Of those that are refused nothing is learnt: their clients wait, and would send
   * many times as many if they were let in. Their places keep what was counted before.
   */
  count (userId: string, priority: number): boolean {
    const place = this.#placeOf(userId, priority)
    const isIn = place >= this.#level
    if (isIn) this.#counts[place]!++
    else if (this.#counts[place]! < 1) this.#counts[place] = 1
    return isIn
  }

  /** So much time has passed since the last call. */
  fade (elapsedMs: number): void {
    const kept = 2 ** (-elapsedMs / halfLifeMs)
    for (let i = this.#level; i < places; i++) this.#counts[i]! *= kept
    if (this.#seed === this.#hour) return
    this.#seed = this.#hour
    this.#dealAnew()
  }

  /** Lets in less by this share of what is let in now, but never nobody: the highest that came stays. */
  lower (share: number): void {
    let top = places - 1
    while (top > 0 && this.#counts[top]! < countMin) top--
    let sum = this.#sumFrom(this.#level)
    const wanted = sum * (1 - share)
    while (sum > wanted && this.#level < top) sum -= this.#counts[this.#level++]!
  }

  /** Lets in more by this share, and by one part of the users at least. */
  raise (share: number): void {
    const before = this.#sumFrom(this.#level)
    const wanted = before * (1 + share)
    let sum = before
    while (this.#level > 0 && (sum < wanted || sum < before + countMin)) sum += this.#counts[--this.#level]!
  }

  /** Forgets what was counted. */
  clear (): void { this.#counts.fill(0) }

  get #hour (): number { return Math.floor(this.atMs() / hourMs) }

  #sumFrom (place: number): number {
    let sum = 0
    for (let i = place; i < places; i++) sum += this.#counts[i]!
    return sum
  }

  /** Nobody knows which parts the users are in now that were counted. */
  #dealAnew (): void {
    for (let first = 0; first < places; first += userParts) {
      const part = this.#counts.subarray(first, first + userParts)
      part.fill(part.reduce((sum, count) => sum + count) / userParts)
    }
  }

  #placeOf (userId: string, priority: number): number {
    return rankOf(priority) * userParts + partOf(userId, this.#seed)
  }
}

/** FNV-1a, mixed once more so that the seed reaches every bit. */
function partOf (userId: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed
  for (let i = 0; i < userId.length; i++) hash = Math.imul(hash ^ userId.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 25
}
