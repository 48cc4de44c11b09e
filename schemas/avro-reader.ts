import { GatewayError, type ErrorCode } from './errors.js'

/*
  Avro binary, with every bound checked against the bytes that are there. avsc's own reader is not used on bytes from
  outside: it trusts array counts (six bytes end the process) and copies payloads. Nothing here needs Node, so that
  browsers can read frames with it.
*/

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Ids come again and again: one shared string costs half of a new one, and its hash for Map lookups is known. */
const sharedMax = 1 << 13 // sharedString's hash has 13 bits
const sharedBytesMax = 40
const shared = new Array<string>(sharedMax).fill('')

/** A Buffer, with the method behind its `toString('latin1')`. */
type NodeBytes = Uint8Array & { latin1Slice (start: number, end: number): string }

const none = new Uint8Array(0)

/** A cursor on bytes. One reader serves one codec for ever: `open` points it at the next bytes. */
export class AvroReader {
  bytes: Uint8Array = none
  pos = 0
  end = 0

  /** @param code of the GatewayError that every method throws when the bytes are not what it reads */
  constructor (readonly code: ErrorCode) {}

  open (bytes: Uint8Array, start: number, end: number): void {
    if (start > end || end > bytes.length) throw this.bad('ends early')
    this.bytes = bytes
    this.pos = start
    this.end = end
  }

  /** Lets go of the bytes, and refuses any that nobody read. */
  close (): void {
    if (this.pos !== this.end) throw this.bad(`${this.end - this.pos} bytes too many`)
    this.bytes = none
  }

  bad (reason: string): GatewayError {
    return new GatewayError(this.code, reason)
  }

  byte (): number {
    if (this.pos >= this.end) throw this.bad('ends early')
    return this.bytes[this.pos++]!
  }

  boolean (): boolean {
    const byte = this.byte()
    if (byte > 1) throw this.bad(`boolean of ${byte}`)
    return byte === 1
  }

  int (): number {
    const value = this.long()
    if ((value | 0) !== value) throw this.bad('int of more than 32 bits')
    return value
  }

  /** An Avro long, as long as a number holds it exactly. */
  long (): number {
    const byte = this.byte()
    return byte < 0x80 ? (byte >>> 1) ^ -(byte & 1) : this.longOfMany(byte)
  }

  // Zigzag in three pieces: 28 and 28 bits that stay small integers, and 14 that can only be zero in a valid number.
  private longOfMany (byte: number): number {
    let low = byte & 0x7f
    for (let shift = 7; byte >= 0x80 && shift < 28; shift += 7) low |= ((byte = this.byte()) & 0x7f) << shift
    if (byte < 0x80) return (low >>> 1) ^ -(low & 1)
    let high = 0
    for (let shift = 0; byte >= 0x80 && shift < 28; shift += 7) high |= ((byte = this.byte()) & 0x7f) << shift
    for (let rest = 0; byte >= 0x80; rest++) {
      byte = this.byte()
      if ((byte & 0x7f) !== 0 || rest === 2) throw this.bad('long beyond 2^53')
    }
    const magnitude = high * 0x8000000 + (low >>> 1)
    const value = (low & 1) === 0 ? magnitude : -magnitude - 1
    if (!Number.isSafeInteger(value)) throw this.bad('long beyond 2^53')
    return value
  }

  double (): number {
    if (this.end - this.pos < 8) throw this.bad('ends early')
    const value = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.pos, 8).getFloat64(0, true)
    this.pos += 8
    return value
  }

  /** How many bytes a string or payload has; they are all there. */
  private length (): number {
    const length = this.long()
    if (length < 0 || length > this.end - this.pos) throw this.bad(`length ${length} of ${this.end - this.pos} bytes`)
    return length
  }

  /** A view: whoever keeps it past this tick copies it. */
  payload (): Uint8Array {
    const length = this.length()
    const start = this.pos
    this.pos += length
    return this.bytes.subarray(start, this.pos)
  }

  string (): string {
    const length = this.length()
    const start = this.pos
    this.pos += length
    return this.text(start, this.pos)
  }

  /** A string that comes often, such as an id: the very string of the last time, if that is still known. */
  sharedString (): string {
    const length = this.length()
    if (length === 0) return ''
    const start = this.pos
    const end = this.pos += length
    if (length > sharedBytesMax) return this.text(start, end)
    const { bytes } = this
    // Ids differ at their ends, so the last four bytes are hash enough (a whole FNV of 16 bytes costs 35 ns more).
    let slot = bytes[end - 1]! ^ length << 8
    if (length > 3) slot ^= bytes[end - 2]! << 8 | bytes[end - 3]! << 16 | bytes[end - 4]! << 24
    slot = Math.imul(slot, 0x9e3779b1) >>> 19
    const known = shared[slot]!
    if (known.length === length) {
      let at = 0
      while (at < length && known.charCodeAt(at) === bytes[start + at]) at++
      if (at === length) return known
    }
    const text = this.text(start, end)
    if (text.length === length) shared[slot] = text // only ASCII has as many characters as bytes
    return text
  }

  private text (start: number, end: number): string {
    const { bytes } = this
    if (end === start) return ''
    if (end - start <= 64 && 'latin1Slice' in bytes) {
      let at = start
      while (at < end && bytes[at]! < 0x80) at++
      if (at === end) return (bytes as NodeBytes).latin1Slice(start, end)
    }
    try {
      return utf8.decode(bytes.subarray(start, end))
    } catch (cause) {
      throw new GatewayError(this.code, 'string is not UTF-8', { cause })
    }
  }

  /** Index of a union's branch or an enum's symbol, of `count`. */
  index (count: number): number {
    const index = this.long()
    if (index < 0 || index >= count) throw this.bad(`index ${index} of ${count}`)
    return index
  }

  /** Reads an array, in however many chunks; each item must read at least one byte. */
  items<T> (read: (from: AvroReader) => T): T[] {
    const items: T[] = []
    for (let count = this.count(); count > 0; count = this.count()) {
      for (; count > 0; count--) items.push(read(this))
    }
    return items
  }

  /** Walks over an array or map without keeping anything; each item takes at least `bytesMin` bytes. */
  skipItems (skip: (from: AvroReader) => void, bytesMin: number): void {
    for (let count = this.count(bytesMin); count > 0; count = this.count(bytesMin)) {
      for (; count > 0; count--) skip(this)
    }
  }

  /** Walks over a string or payload. */
  skipBytes (): void {
    const length = this.length() // moves `pos` itself, so not within the addition
    this.pos += length
  }

  skip (bytes: number): void {
    if (bytes > this.end - this.pos) throw this.bad('ends early')
    this.pos += bytes
  }

  /** How many items the next chunk of an array has, 0 at its end; never more than bytes are left. */
  private count (bytesMin = 1): number {
    let count = this.long()
    if (count < 0) {
      count = -count
      this.long() // bytes of the chunk, for those who skip it
    }
    if (count * bytesMin > this.end - this.pos) throw this.bad(`${count} items in ${this.end - this.pos} bytes`)
    return count
  }
}

/** For `items`. */
export function readString (from: AvroReader): string { return from.string() }
export function readLong (from: AvroReader): number { return from.long() }
