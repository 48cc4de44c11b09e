import type { Stream } from '../../schemas/streams.js'
import type { Append } from './partition.js'

/** Up to so many bytes in the queue nobody is told apart: one commit takes all of it. */
const plainBytesMax = 32 << 10
/** A key with no more than this goes ahead of those that have more. */
export const lightBytesMax = 8 << 10
/** What a key with more is given in its turn. */
const turnBytes = 64 << 10

/** Appends that are about one key, in their order. */
interface Line {
  readonly key: string
  readonly appends: Append[]
  bytes: number
  /** What it may have in its turn beyond what it had; grows with every turn in which its next append did not fit. */
  credit: number
}

/** Several keys in one append, or a stream that is derived: they wait in one line. */
const mixed = ''

/**
 * Appends of one partition that no commit has begun to write. Those about one key (`Stream.key`: a user) keep their
 * order, and so do those about several; where there is more than one commit takes, keys take turns:
 *
 * - first what the gateway itself tells of several keys, such as a report of what connections acked: it is little, and
 *   nothing about any of them may overtake it;
 * - then keys that have little, up to half of the room while others wait;
 * - then the others in turns of 64 KiB, so that who sends much waits for himself.
 */
export class AppendQueue {
  bytes = 0
  /** In order of arrival, while it is so little that nobody is told apart. */
  #plain: Append[] = []
  #isSorted = false
  /** A stream that is derived from another keeps the order of that, whoever it is about. */
  #isDerived = false
  #first: Append[] = []
  #firstBytes = 0
  readonly #lines = new Map<string, Line>()
  /** In the order of their turns. A line is in one of both. */
  readonly #light = new Set<Line>()
  #lightBytes = 0
  readonly #heavy = new Set<Line>()

  constructor (private readonly stream: Pick<Stream<any>, 'key'>) {}

  /** What goes ahead: all there is, or that of keys that have little. */
  get lightBytes (): number { return this.#isSorted ? this.#firstBytes + this.#lightBytes : this.bytes }

  /** What the next append of those takes that take turns; 0 for none. */
  get headBytes (): number { return this.#heavy.values().next().value?.appends[0]!.bytes ?? 0 }

  push (append: Append): void {
    this.bytes += append.bytes
    if (append.derivedFrom >= 0) this.#isDerived = true
    if (this.#isSorted) {
      this.#sort(append)
      return
    }
    this.#plain.push(append)
    if (this.bytes <= plainBytesMax) return
    this.#isSorted = true
    for (const one of this.#plain.splice(0)) this.#sort(one)
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
      return all
    }
    const { taken, bytes } = takeFrom(this.#plain, bytesMax)
    this.bytes -= bytes
    return taken
  }

  #took (bytes: number): void {
    this.bytes -= bytes
    if (this.#lines.size === 0 && this.#first.length === 0) this.#isSorted = false
  }

  #sort (append: Append): void {
    const key = this.#keyOf(append)
    if (key === mixed && append.own && !this.#isDerived) {
      this.#first.push(append)
      this.#firstBytes += append.bytes
      return
    }
    let line = this.#lines.get(key)
    if (line === undefined) {
      line = { key, appends: [], bytes: 0, credit: 0 }
      this.#lines.set(key, line)
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

  #keyOf ({ items }: Append): string {
    if (this.#isDerived) return mixed
    const key = this.stream.key(items[0])
    for (let i = 1; i < items.length; i++) if (this.stream.key(items[i]) !== key) return mixed
    return key
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
      this.#lines.delete(line.key)
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
      else this.#lines.delete(line.key)
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
