/*
  Avro binary, into bytes that are already there. Nothing is checked for room: a typed array ignores what is written
  past its end, `pos` goes on counting, and whoever drives the writer looks once per record whether `pos` passed the
  end, makes room and writes that record again. Nothing here needs Node, so that browsers can write frames with it.
*/

const utf8 = new TextEncoder()

/** A cursor on bytes to fill. Asserts what it is given, as that is ours: RangeError, never a wrong byte. */
export class AvroWriter {
  bytes: Uint8Array = new Uint8Array(0)
  pos = 0

  open (bytes: Uint8Array, pos: number): void {
    this.bytes = bytes
    this.pos = pos
  }

  boolean (value: boolean): void {
    this.bytes[this.pos++] = value ? 1 : 0
  }

  int (value: number): void {
    if ((value | 0) !== value) throw new RangeError(`int: got ${value}, want an integer of 32 bits`)
    this.long(value)
  }

  /** @throws RangeError when `value` is not an integer that a number holds exactly */
  long (value: number): void {
    const { bytes } = this
    let rest = (value << 1) ^ (value >> 31)
    if ((value | 0) !== value) {
      if (!Number.isSafeInteger(value)) throw new RangeError(`long: got ${value}, want an integer within 2^53`)
      // Zigzag by halves, as 2 * value may be beyond what a number holds: 28 bits here, at most 26 below.
      const magnitude = value < 0 ? -value - 1 : value
      rest = Math.floor(magnitude / 0x8000000)
      const low = (magnitude - rest * 0x8000000) * 2 + (value < 0 ? 1 : 0)
      bytes[this.pos++] = low & 0x7f | 0x80
      bytes[this.pos++] = low >>> 7 & 0x7f | 0x80
      bytes[this.pos++] = low >>> 14 & 0x7f | 0x80
      bytes[this.pos++] = low >>> 21 & 0x7f | 0x80
    }
    while (rest & ~0x7f) {
      bytes[this.pos++] = rest & 0x7f | 0x80
      rest >>>= 7
    }
    bytes[this.pos++] = rest
  }

  double (value: number): void {
    if (this.pos + 8 <= this.bytes.length) {
      new DataView(this.bytes.buffer, this.bytes.byteOffset + this.pos, 8).setFloat64(0, value, true)
    }
    this.pos += 8
  }

  payload (value: Uint8Array): void {
    const { length } = value
    this.long(length)
    if (this.pos + length <= this.bytes.length) this.bytes.set(value, this.pos)
    this.pos += length
  }

  string (value: string): void {
    const { length } = value
    // Most strings are ids: ASCII and short enough for a length of one byte. Half the cost of Buffer's utf8Write.
    if (length < 64) {
      const { bytes } = this
      const start = this.pos + 1
      let at = 0
      for (; at < length; at++) {
        const char = value.charCodeAt(at)
        if (char > 0x7f) break
        bytes[start + at] = char
      }
      if (at === length) {
        bytes[this.pos] = length << 1
        this.pos = start + length
        return
      }
    }
    this.payload(utf8.encode(value))
  }

  /** Index of `symbol` in an enum. */
  symbol (symbols: readonly string[], symbol: string): void {
    const index = symbols.indexOf(symbol)
    if (index < 0) throw new RangeError(`enum: got ${symbol}, want one of ${symbols.join(', ')}`)
    this.long(index)
  }

  /** Writes an array as one chunk. */
  items<T> (items: readonly T[], write: (to: AvroWriter, item: T) => void): void {
    if (items.length > 0) {
      this.long(items.length)
      for (let i = 0; i < items.length; i++) write(this, items[i]!)
    }
    this.long(0)
  }
}

/** For `items`. */
export function writeString (to: AvroWriter, value: string): void { to.string(value) }
export function writeLong (to: AvroWriter, value: number): void { to.long(value) }
