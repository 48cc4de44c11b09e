import type { PartId } from './snapshots.js'
import { digestOf } from './digest.js'

/** What is known of a request before it is taken. */
export type Known =
  /** Its id is new. */
  | 'first'
  /** It was taken before, with the same content as far as that is known. */
  | 'duplicate'
  /** Its id was taken before, for something else. */
  | 'conflict'

/** Requests remembered for one user; past it the oldest is forgotten. */
export const requestsMax = 10_000

/** How long one is remembered, by the times of the entries. */
const keptS = 86_400

/** The clock is the least time of so many requests of late: a few that are dated far ahead must not move it. */
const clockEntries = 8

/** What stands for the content of a request that has none, or whose content is not known. */
export const noContent = 0

/*
  One remembered request, in memory as in a saved state
    REQUEST => DIGEST CONTENT AT
      DIGEST  => 16 bytes of the digest of its name
      CONTENT => uint32: digest of its content
      AT      => uint32: time of its entry, seconds since 1970
  All little-endian.
*/
const requestBytes = 24
/** Requests of one part of a saved state. */
const chunkSize = 32
const contentAt = 16
const timeAt = 20

/** The kinds of requests have names that no text of another kind can have: what a caller calls an id, he may choose. */
export const nameOf = {
  downlink: (messageId: string): string => `d${messageId}`,
  redelivery: (requestId: string, messageId: string): string => `r${requestId.length}/${requestId}${messageId}`,
  recall: (requestId: string, messageId: string): string => `c${requestId.length}/${requestId}${messageId}`,
  /** A downlink that was taken back before any device had acked it. */
  recalled: (messageId: string): string => `x${messageId}`,
  kick: (requestId: string): string => `k${requestId}`,
  ban: (banId: string): string => `b${banId}`,
  post: (messageId: string): string => `p${messageId}`,
  membership: (requestId: string): string => `m${requestId}`,
}

const chunkPart = (chunk: number): PartId => `r${chunk}`

/** The parts with the requests from number `first` up to but without `end`. */
export function requestParts (first: number, end: number): PartId[] {
  const parts: PartId[] = []
  if (first >= end) return parts
  for (let chunk = chunkOf(first); chunk * chunkSize < end; chunk++) parts.push(chunkPart(chunk))
  return parts
}

function chunkOf (number: number): number { return Math.floor(number / chunkSize) }

/**
 * The requests that one user had of late, so that a repeat is known as such: for a day, and at most `requestsMax`. They
 * are kept by digest in one array of bytes, oldest first, behind an index with open addressing: a busy user has
 * thousands, and as objects they would take four times the memory and far longer to save.
 *
 * Each has a number, which it never loses, and goes with the 31 others of its chunk into one part of a saved state.
 * So a save writes the chunks that got new ones, and a chunk of which all are forgotten is removed.
 */
export class Requests {
  #view = new DataView(new ArrayBuffer(0))
  /** Twice as many as there is room for requests. Each is 0, or the place of a request plus 1; forgotten ones stay. */
  #slots = new Uint16Array(0)
  /** Places of the oldest that is remembered and of the next one. */
  #first = 0
  #end = 0
  /** Number of the request at place 0. */
  #base = 0
  /** Number of the first one that is not saved. */
  #savedEnd = 0
  readonly #gone: PartId[]

  /** @param gone gets the saved parts that nothing names any more */
  constructor (gone: PartId[] = []) { this.#gone = gone }

  /**
   * Takes over those of a saved state, in place of the ones that there are.
   *
   * @param bytes as `bytes` gave them
   * @param first number of the first one
   * @param saved they are in chunks already
   */
  restore (bytes: Uint8Array, first: number, saved: boolean): void {
    const count = Math.floor(bytes.length / requestBytes)
    let room = count === 0 ? 0 : 8
    while (room < count) room *= 2
    this.#move(room, bytes)
    this.#base = first
    this.#savedEnd = saved ? first + count : first
  }

  /**
   * Takes over the chunks that are saved of those from number `first` up to but without `end`.
   *
   * @returns the first that is not as it was saved; undefined where all are
   */
  restoreParts (parts: ReadonlyMap<PartId, Uint8Array>, first: number, end: number): PartId | undefined {
    const bytes = new Uint8Array((end - first) * requestBytes)
    for (const id of requestParts(first, end)) {
      const chunk = parts.get(id)
      const before = Number(id.slice(1)) * chunkSize
      const from = Math.max(first, before)
      const to = Math.min(end, before + chunkSize)
      // Those that were forgotten since it was saved stand before the others.
      const skipped = chunk ? chunk.length - (to - from) * requestBytes : -1
      if (skipped < 0) return id
      bytes.set(chunk!.subarray(skipped), (from - first) * requestBytes)
    }
    this.restore(bytes, first, true)
    return undefined
  }

  get size (): number { return this.#end - this.#first }
  get first (): number { return this.#base + this.#first }
  get end (): number { return this.#base + this.#end }
  /** Number of the first one that is not saved. */
  get savedEnd (): number { return this.#savedEnd }

  /**
   * Adds the chunks to `parts` that a save has to write.
   *
   * @param all whether they are saved or not
   */
  collect (parts: Map<PartId, Uint8Array>, all: boolean): void {
    const { first, end } = this
    for (const id of requestParts(all ? first : Math.max(first, this.#savedEnd), end)) {
      const from = Math.max(this.#first, Number(id.slice(1)) * chunkSize - this.#base)
      const to = Math.min(this.#end, (Number(id.slice(1)) + 1) * chunkSize - this.#base)
      parts.set(id, new Uint8Array(this.#view.buffer.slice(from * requestBytes, to * requestBytes)))
    }
  }

  /** What `collect` gave is on its way to be saved. */
  saved (): void { this.#savedEnd = this.end }

  /** All that are remembered, oldest first. A view: valid until the next request is taken. */
  get bytes (): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.#first * requestBytes, this.size * requestBytes)
  }

  /** What is known of it; nothing changes. */
  look (name: string, content: number): Known { return this.#known(digestOf(name), content) }

  /** As `look`, and remembers it where it is the first. */
  take (name: string, content: number, atMs: number): Known {
    const digest = digestOf(name)
    const known = this.#known(digest, content)
    if (known === 'first') {
      this.#add(digest, content, atMs)
      this.#forget()
    }
    return known
  }

  /** Remembers it as one that was taken. */
  add (name: string, content: number, atMs: number): void { this.#add(digestOf(name), content, atMs) }

  /** Forgets all of them. */
  drop (): void {
    const { first, end } = this
    for (const id of requestParts(first, Math.min(end, this.#savedEnd))) this.#gone.push(id)
    this.#base = end
    this.#first = this.#end = 0
    this.#view = new DataView(new ArrayBuffer(0))
    this.#slots = new Uint16Array(0)
  }

  #known (digest: Int32Array, content: number): Known {
    const slot = this.#find(digest)
    const place = slot < 0 ? 0 : this.#slots[slot]!
    if (place === 0) return 'first'
    const before = this.#view.getUint32((place - 1) * requestBytes + contentAt, true)
    return content === noContent || before === noContent || before === content ? 'duplicate' : 'conflict'
  }

  #add (digest: Int32Array, content: number, atMs: number): void {
    const room = this.#slots.length / 2
    if (this.#end === room) this.#move(this.#first >= room / 4 && room > 0 ? room : Math.max(8, 2 * room), this.bytes)
    const at = this.#end * requestBytes
    for (let i = 0; i < digest.length; i++) this.#view.setInt32(at + 4 * i, digest[i]!, true)
    this.#view.setUint32(at + contentAt, content, true)
    this.#view.setUint32(at + timeAt, Math.min(Math.max(Math.floor(atMs / 1_000), 0), 0xffffffff), true)
    const slot = this.#find(digest)
    this.#slots[slot] = ++this.#end
    while (this.size > requestsMax) this.#dropOldest()
  }

  #dropOldest (): void {
    const { first } = this
    this.#first++
    const chunk = chunkOf(first)
    if (chunk !== chunkOf(first + 1) && chunk * chunkSize < this.#savedEnd) this.#gone.push(chunkPart(chunk))
  }

  #forget (): void {
    if (this.size <= clockEntries) return
    let nowS = Infinity
    for (let place = this.#end - clockEntries; place < this.#end; place++) nowS = Math.min(nowS, this.#timeOf(place))
    while (this.size > clockEntries && this.#timeOf(this.#first) < nowS - keptS) this.#dropOldest()
  }

  #timeOf (place: number): number { return this.#view.getUint32(place * requestBytes + timeAt, true) }

  /** The slot of the request with this digest, or the free one where it would be; -1 where there is no slot at all. */
  #find (digest: Int32Array): number {
    const mask = this.#slots.length - 1
    if (mask < 0) return -1
    for (let slot = digest[0]! & mask; ; slot = slot + 1 & mask) {
      const place = this.#slots[slot]! - 1
      if (place < 0 || (place >= this.#first && this.#isAt(place, digest))) return slot
    }
  }

  #isAt (place: number, digest: Int32Array): boolean {
    const at = place * requestBytes
    for (let i = 0; i < digest.length; i++) if (this.#view.getInt32(at + 4 * i, true) !== digest[i]) return false
    return true
  }

  /** Starts anew with these requests, and room for so many. Between two moves no more slots are used than that. */
  #move (room: number, requests: Uint8Array): void {
    const bytes = new Uint8Array(room * requestBytes)
    bytes.set(requests)
    this.#view = new DataView(bytes.buffer)
    this.#slots = new Uint16Array(2 * room)
    this.#base += this.#first
    this.#first = 0
    this.#end = requests.length / requestBytes
    const mask = this.#slots.length - 1
    for (let place = 0; place < this.#end; place++) {
      let slot = this.#view.getUint32(place * requestBytes, true) & mask
      while (this.#slots[slot] !== 0) slot = slot + 1 & mask
      this.#slots[slot] = place + 1
    }
  }
}
