/*
  Kafka's own primitives, for the two requests that carry records: kafkajs builds an object for each field of each
  record, which costs more than everything else on their way.
*/

/** A cursor on an answer. A read past the end throws RangeError, as Buffer does. */
export class KafkaReader {
  constructor (readonly bytes: Buffer, public pos = 0) {}

  int8 (): number { return this.bytes.readInt8(this.pos++) }
  int16 (): number { this.pos += 2; return this.bytes.readInt16BE(this.pos - 2) }
  int32 (): number { this.pos += 4; return this.bytes.readInt32BE(this.pos - 4) }
  int64 (): bigint { this.pos += 8; return this.bytes.readBigInt64BE(this.pos - 8) }

  string (): string {
    const length = this.int16()
    return length < 0 ? '' : this.view(length).toString()
  }

  /** Bytes behind an int32 length, as a view; none for null. */
  block (): Buffer { return this.view(Math.max(0, this.int32())) }

  /** A zigzag varint of up to 32 bits. */
  varint (): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes.readUInt8(this.pos++)
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    }
    throw new RangeError('varint of more than 32 bits')
  }

  skipVarlong (): void {
    for (let i = 0; i < 10; i++) if (this.bytes.readUInt8(this.pos++) < 0x80) return
    throw new RangeError('varint of more than 64 bits')
  }

  /** Bytes behind a varint length, as a view. */
  varBytes (): Buffer | null {
    const length = this.varint()
    return length < 0 ? null : this.view(length)
  }

  /** A varint without a sign, as lengths and counts of later requests are, which are one more than they say. */
  uvarint (): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes.readUInt8(this.pos++)
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
    throw new RangeError('varint of more than 32 bits')
  }

  /** Empty for null. */
  compactString (): string { return this.view(Math.max(0, this.uvarint() - 1)).toString() }

  compactArray<T> (item: () => T): T[] { return Array.from({ length: Math.max(0, this.uvarint() - 1) }, item) }

  /** Fields of versions to come. */
  skipTags (): void {
    for (let left = this.uvarint(); left > 0; left--) {
      this.uvarint()
      this.view(this.uvarint())
    }
  }

  view (length: number): Buffer {
    const end = this.pos + length
    if (end > this.bytes.length) throw new RangeError(`${end - this.bytes.length} bytes are missing`)
    const view = this.bytes.subarray(this.pos, end)
    this.pos = end
    return view
  }

  array<T> (item: () => T): T[] { return Array.from({ length: Math.max(0, this.int32()) }, item) }
}

const bytesAtFirst = 1 << 16
/** What one huge request made is given back. */
const bytesKeptMax = 8 << 20

/** Collects what a request says, in one buffer that the next one uses again. */
export class KafkaWriter {
  bytes = Buffer.allocUnsafeSlow(bytesAtFirst)
  pos = 0

  start (): void {
    if (this.bytes.length > bytesKeptMax) this.bytes = Buffer.allocUnsafeSlow(bytesAtFirst)
    this.pos = 0
  }

  int8 (value: number): void { this.room(1); this.bytes[this.pos++] = value }
  int16 (value: number): void { this.room(2); this.pos = this.bytes.writeInt16BE(value, this.pos) }
  int32 (value: number): void { this.room(4); this.pos = this.bytes.writeInt32BE(value, this.pos) }
  int64 (value: bigint): void { this.room(8); this.pos = this.bytes.writeBigInt64BE(value, this.pos) }

  string (value: string): void {
    const length = Buffer.byteLength(value)
    this.int16(length)
    this.room(length)
    this.pos += this.bytes.write(value, this.pos)
  }

  block (bytes: Uint8Array): void {
    this.int32(bytes.length)
    this.raw(bytes)
  }

  varint (value: number): void {
    this.room(5)
    let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
    for (; zigzag > 0x7f; zigzag >>>= 7) this.bytes[this.pos++] = (zigzag & 0x7f) | 0x80
    this.bytes[this.pos++] = zigzag
  }

  uvarint (value: number): void {
    this.room(5)
    let left = value >>> 0
    for (; left > 0x7f; left >>>= 7) this.bytes[this.pos++] = (left & 0x7f) | 0x80
    this.bytes[this.pos++] = left
  }

  compactString (value: string): void {
    const length = Buffer.byteLength(value)
    this.uvarint(length + 1)
    this.room(length)
    this.pos += this.bytes.write(value, this.pos)
  }

  varBytes (bytes: Uint8Array | null): void {
    this.varint(bytes ? bytes.length : -1)
    if (bytes) this.raw(bytes)
  }

  raw (bytes: Uint8Array): void {
    this.room(bytes.length)
    this.bytes.set(bytes, this.pos)
    this.pos += bytes.length
  }

  /** What was written since `start`, copied. */
  finish (): Buffer { return Buffer.from(this.bytes.subarray(0, this.pos)) }

  private room (length: number): void {
    if (this.pos + length <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.bytes.length, this.pos + length))
    grown.set(this.bytes.subarray(0, this.pos))
    this.bytes = grown
  }
}

export function varintBytes (value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  let bytes = 1
  for (; zigzag > 0x7f; zigzag >>>= 7) bytes++
  return bytes
}
