import type { SharedFrame } from '../../actors/connection/wire.js'
import type { SharedSignal } from '../../actors/links.js'
import { encodeFrame, encodeFrameJson } from '../../schemas/frame-codec.js'
import type { ServerFrame } from '../../schemas/frames.js'
import { lengthBytes } from './tcp-frames.js'

/**
 * Collects the frames of one turn of one connection, encoded, so that they are written at once. A turn is synchronous
 * and ends with `take`, or `drop` where it fails, so one encoder serves all connections of its kind.
 *
 * The WebSocket ones write RFC 6455 frames themselves (no mask, no extension, no fragments: six lines) rather than
 * through `ws.send`, which makes a header buffer and two writes of every frame: with 16 small frames a turn that was
 * most of the edge's time (docs/decisions/0006-one-write-a-turn.md).
 */
export interface Encoder {
  write (frame: ServerFrame): void
  writeSignal (signal: SharedSignal): void
  writeShared (shared: SharedFrame): void
  /** What the whole frame takes, which is encoded for that. */
  bytesOf (shared: SharedFrame): number
  /** What was written since the last time, as bytes of its own; undefined for nothing. */
  take (): Buffer | undefined
  /** Drops what a turn has left that did not come to its end: the next one is that of another connection. */
  drop (): void
}

/** Puts the header of a frame into the bytes right before it. */
interface Framing {
  readonly name: string
  headerBytes (frameBytes: number): number
  writeHeader (bytes: Buffer, pos: number, frameBytes: number): void
}

const tcp: Framing = {
  name: 'tcp',
  headerBytes: () => lengthBytes,
  writeHeader (bytes, pos, frameBytes) { bytes.writeUInt32BE(frameBytes, pos) },
}

/*
  Message => FIN_OPCODE LENGTH PAYLOAD
    FIN_OPCODE => uint8: 0x82 binary, 0x81 text, both whole
    LENGTH     => uint8 below 126, or 126 and uint16, or 127 and uint64; big-endian
*/
function webSocket (name: string, finOpcode: number): Framing {
  return {
    name,
    headerBytes: frameBytes => frameBytes < 126 ? 2 : frameBytes < 0x10000 ? 4 : 10,
    writeHeader (bytes, pos, frameBytes) {
      bytes[pos] = finOpcode
      if (frameBytes < 126) {
        bytes[pos + 1] = frameBytes
      } else if (frameBytes < 0x10000) {
        bytes[pos + 1] = 126
        bytes.writeUInt16BE(frameBytes, pos + 2)
      } else {
        bytes[pos + 1] = 127
        bytes.writeUInt32BE(0, pos + 2)
        bytes.writeUInt32BE(frameBytes, pos + 6)
      }
    },
  }
}

class FramedEncoder implements Encoder {
  #bytes = Buffer.allocUnsafeSlow(64 * 1024)
  #pos = 0
  /** A frame for many that is alone in its turn goes out as it is, without a copy. */
  #alone: Buffer | undefined

  constructor (
    readonly framing: Framing, readonly encode: (frame: ServerFrame, target: Buffer, pos: number) => number
  ) {}

  write (frame: ServerFrame): void {
    if (this.#alone) this.#settle(this.#alone)
    this.#pos = this.#encodeAt(this.#pos, frame)
  }

  writeSignal ({ service, payload, encoded }: SharedSignal): void {
    this.#write(encoded.get(this.framing.name) ?? this.#encodeOnce({ op: 'signal', service, payload, roomId: '' }, encoded))
  }

  writeShared ({ frame, encoded }: SharedFrame): void {
    this.#write(encoded.get(this.framing.name) ?? this.#encodeOnce(frame, encoded))
  }

  bytesOf ({ frame, encoded }: SharedFrame): number {
    return (encoded.get(this.framing.name) ?? this.#encodeOnce(frame, encoded)).length
  }

  take (): Buffer | undefined {
    if (this.#alone) {
      const whole = this.#alone
      this.#alone = undefined
      return whole
    }
    if (this.#pos === 0) return undefined
    const taken = Buffer.from(this.#bytes.subarray(0, this.#pos))
    this.#pos = 0
    return taken
  }

  drop (): void {
    this.#alone = undefined
    this.#pos = 0
  }

  #encodeOnce (frame: ServerFrame, encoded: Map<string, Buffer>): Buffer {
    const end = this.#encodeAt(this.#pos, frame)
    const whole = Buffer.from(this.#bytes.subarray(this.#pos, end))
    encoded.set(this.framing.name, whole)
    return whole
  }

  #write (whole: Buffer): void {
    if (this.#pos === 0 && !this.#alone) {
      this.#alone = whole
      return
    }
    if (this.#alone) this.#settle(this.#alone)
    this.#append(whole)
  }

  #settle (whole: Buffer): void {
    this.#alone = undefined
    this.#append(whole)
  }

  #append (whole: Buffer): void {
    if (this.#pos + whole.length > this.#bytes.length) this.#grow(whole.length)
    this.#pos += whole.copy(this.#bytes, this.#pos)
  }

  /** @returns the position behind the frame */
  #encodeAt (pos: number, frame: ServerFrame): number {
    // The header's size depends on the frame's: guess the smallest, which most have, and move the frame otherwise.
    const guess = this.framing.headerBytes(0)
    let end = this.encode(frame, this.#bytes, pos + guess)
    while (end < 0) {
      this.#grow(-end)
      end = this.encode(frame, this.#bytes, pos + guess)
    }
    const frameBytes = end - pos - guess
    const header = this.framing.headerBytes(frameBytes)
    if (header > guess) {
      if (end + header > this.#bytes.length) this.#grow(header)
      this.#bytes.copyWithin(pos + header, pos + guess, end)
    }
    this.framing.writeHeader(this.#bytes, pos, frameBytes)
    return pos + header + frameBytes
  }

  #grow (bytes: number): void {
    const grown = Buffer.allocUnsafeSlow(2 * (this.#bytes.length + bytes))
    this.#bytes.copy(grown)
    this.#bytes = grown
  }
}

function encodeJsonAt (frame: ServerFrame, target: Buffer, pos: number): number {
  const text = encodeFrameJson(frame)
  const bytes = Buffer.byteLength(text)
  const room = target.length - pos
  return bytes > room ? room - bytes : pos + target.write(text, pos)
}

export const tcpEncoder: Encoder = new FramedEncoder(tcp, encodeFrame)
export const webSocketEncoder: Encoder = new FramedEncoder(webSocket('avro', 0x82), encodeFrame)
export const webSocketJsonEncoder: Encoder = new FramedEncoder(webSocket('json', 0x81), encodeJsonAt)
