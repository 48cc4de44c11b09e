import type { Append } from './partition.js'

/** A source with no more than this goes ahead of those that have more. */
export const lightBytesMax = 8 << 10
/** What a source with more is given in its turn. */
const turnBytes = 64 << 10

/** Appends of one source, in their order. */
interface Line {
  readonly source: string
  readonly appends: Append[]
  bytes: number
  /** What it may have in its turn beyond what it had; grows with every turn in which its next append did not fit. */
  credit: number
}

/** Appends without a source wait in one line. */
const nobody = ''

/**
 * Appends of one partition that no commit has begun to write. Those of one source keep their order, and so do those
 * without one; where somebody would wait for more than two commits, sources take turns:
 *
 * - first what is reserved and has no source, such as a report of what connections acked: it is little, and what comes
 *   later from one of them must not overtake it;
 * - then sources that have little, up to half of the room while others wait;
 * - then the others in turns of 64 KiB, so that who sends much waits for himself.
 *
 * Where no append has a source, as in streams that are derived from another, all keep their order.
 */
export class AppendQueue {
  bytes = 0
  /** In order of arrival, until sources are told apart. */
  #plain: Append[] = []
  #isSorted = false
  #hasSources = false
  #first: Append[] = []
  #firstBytes = 0
  readonly #lines = new Map<string, Line>()
  /** In the order of their turns. A line is in one of both. */
  readonly #light = new Set<Line>()
  #lightBytes = 0
  readonly #heavy = new Set<Line>()

  /** Of what waits for nobody's turn; known once sources are told apart. */
  get lightBytes (): number { return this.#firstBytes + this.#lightBytes }

  /** What the first of the other appends takes; 0 for none. */
  get headBytes (): number {
    if (!this.#isSorted) return this.#plain[0]?.bytes ?? 0
    return this.#heavy.values().next().value?.appends[0]!.bytes ?? 0
  }

  /** To be called where there is much: its sources are told apart until all of it is taken. */
  tellApart (): void {
    if (this.#isSorted || !this.#hasSources) return
    this.#isSorted = true
    for (const one of this.#plain.splice(0)) this.#sort(one)
  }

  push (append: Append): void {
    this.bytes += append.bytes
    if (this.#isSorted) {
      this.#sort(append)
      return
    }
    this.#plain.push(append)
    if (append.source !== nobody) this.#hasSources = true
  }

  /**
   * Takes what the next commit is to have, at most `bytesMax` or one append.
   *
   * @param isTurn false where those that take turns are to have nothing this time
   */
  take (bytesMax: number, isTurn = true): Append[] {
    if (!this.#isSorted) return this.#takePlain(bytesMax)
    const taken: Append[] = []
    let bytes = this.#takeFirst(taken, bytesMax)
    if (this.#first.length === 0) {
      const room = isTurn && this.#heavy.size > 0 ? bytesMax / 2 : bytesMax
      bytes += this.#takeLight(taken, room - bytes)
      if (isTurn) bytes += this.#takeTurns(taken, bytesMax - bytes)
    }
    this.#took(bytes)
    return taken
  }

  takeAll (): Append[] {
    return this.take(Infinity)
  }

  #takePlain (bytesMax: number): Append[] {
    if (this.bytes <= bytesMax) {
      const all = this.#plain
      this.#plain = []
      this.bytes = 0
      this.#hasSources = false
      return all
    }
    const { taken, bytes } = takeFrom(this.#plain, bytesMax)
    this.bytes -= bytes
    return taken
  }

  #took (bytes: number): void {
    this.bytes -= bytes
    if (this.#lines.size === 0 && this.#first.length === 0) this.#isSorted = this.#hasSources = false
  }

  #sort (append: Append): void {
    const { source } = append
    if (source === nobody && append.own) {
      this.#first.push(append)
      this.#firstBytes += append.bytes
      return
    }
    let line = this.#lines.get(source)
    if (line === undefined) {
      line = { source, appends: [], bytes: 0, credit: 0 }
      this.#lines.set(source, line)
      this.#light.add(line)
    }
    line.appends.push(append)
    line.bytes += append.bytes
    if (!this.#light.has(line)) return
    this.#lightBytes += append.bytes
    if (line.bytes <= lightBytesMax) return
    this.#light.delete(line)
    this.#lightBytes -= line.bytes
    this.#heavy.add(line)
  }

  #takeFirst (taken: Append[], bytesMax: number): number {
    if (this.#first.length === 0) return 0
    const { taken: first, bytes } = takeFrom(this.#first, bytesMax)
    taken.push(...first)
    this.#firstBytes -= bytes
    return bytes
  }

  #takeLight (taken: Append[], bytesMax: number): number {
    let bytes = 0
    for (const line of this.#light) {
      if (bytes > 0 && bytes + line.bytes > bytesMax) break
      bytes += line.bytes
      this.#lightBytes -= line.bytes
      taken.push(...line.appends)
      this.#light.delete(line)
      this.#lines.delete(line.source)
    }
    return bytes
  }

  /** The one whose next append finds no room goes on with the next commit, before the others. */
  #takeTurns (taken: Append[], bytesMax: number): number {
    let bytes = 0
    for (const line of this.#heavy) { // a line that is added again comes at the end, in the same loop
      const { appends } = line
      line.credit += turnBytes
      while (appends.length > 0 && appends[0]!.bytes <= line.credit) {
        const head = appends[0]!
        if (bytes > 0 && bytes + head.bytes > bytesMax) {
          line.credit -= turnBytes
          return bytes
        }
        appends.shift()
        taken.push(head)
        bytes += head.bytes
        line.bytes -= head.bytes
        line.credit -= head.bytes
      }
      this.#heavy.delete(line)
      if (appends.length > 0) this.#heavy.add(line)
      else this.#lines.delete(line.source)
    }
    return bytes
  }
}

/** The first ones of a queue, up to so many bytes and at least one. */
function takeFrom (queue: Append[], bytesMax: number): { taken: Append[], bytes: number } {
  let bytes = 0
  let count = 0
  while (count < queue.length && (count === 0 || bytes + queue[count]!.bytes <= bytesMax)) {
    bytes += queue[count++]!.bytes
  }
  return { taken: queue.splice(0, count), bytes }
}
