import { pageBytes } from '../../ledger/embedded/batch.js'
import type { Pages } from '../../ledger/embedded/headroom.js'
import type { Random } from '../random.js'

/** A longer value has pages of its own. */
const inlineBytesMax = 2000
/** Rows that stand in one leaf, about. */
const rowsPerLeaf = 16
/** At the start of the file. */
const metaPages = 2

/** A row that a commit writes or removes. */
export interface Touched {
  /** How many rows come before it. */
  readonly place: number
  /** Of the value that comes; 0 for none. */
  readonly bytes: number
  /** Of the value that goes; 0 for none. */
  readonly bytesBefore: number
}

/**
 * How many pages of the file are in use: roughly as in LMDB, which changes none in place. A commit writes new copies of
 * what it touches, into free pages where it can. What it makes free can be used by the next commit but one.
 */
export class PageCounts implements Pages {
  #used = metaPages
  /** Of them, what nothing uses: for the commit that comes, and for the one after it. */
  #free = 0
  #soonFree = 0

  usedBytes (): number { return this.#used * pageBytes }

  freeBytes (): number { return (this.#free + this.#soonFree) * pageBytes }

  /** @returns the pages that the commit needs behind the last one in use */
  neededFor (touched: readonly Touched[], random: Random): PageNeed {
    const places = touched.map(({ place }) => place).sort((a, b) => a - b)
    const apart = places.filter((place, i) => i === 0 || place - places[i - 1]! > rowsPerLeaf / 2).length
    let [inlineBytes, own, gone] = [0, 0, 0]
    for (const { bytes, bytesBefore } of touched) {
      if (bytes > inlineBytesMax) own += ownPages(bytes)
      else inlineBytes += bytes
      if (bytesBefore > inlineBytesMax) gone += ownPages(bytesBefore)
    }
    const full = Math.floor(inlineBytes / (pageBytes / 2))
    const tree = 2 * apart + full
    const fromFree = Math.min(tree, this.#free)
    // A long value takes neighbours, which free pages need not be.
    const ownFromFree = this.#free - fromFree > 4 * own && random.chance(0.5) ? own : 0
    return {
      taken: fromFree + ownFromFree,
      grows: tree - fromFree + own - ownFromFree,
      freed: 2 * apart + gone,
    }
  }

  commit ({ taken, grows, freed }: PageNeed): void {
    this.#used += grows
    this.#free += this.#soonFree - taken
    this.#soonFree = freed
  }

  copy (): PageCounts {
    const copy = new PageCounts()
    copy.#used = this.#used
    copy.#free = this.#free
    copy.#soonFree = this.#soonFree
    return copy
  }
}

export interface PageNeed {
  /** Of those that are free. */
  readonly taken: number
  readonly grows: number
  readonly freed: number
}

function ownPages (bytes: number): number { return Math.ceil((bytes + 16) / pageBytes) }
