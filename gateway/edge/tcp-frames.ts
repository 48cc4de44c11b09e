import { GatewayError } from '../../schemas/errors.js'
import { decodeFrame } from '../../schemas/frame-codec.js'
import type { Frame } from '../../schemas/frames.js'

/*
  Frame => LENGTH OPCODE BODY
    LENGTH => uint32, big-endian: bytes of OPCODE and BODY, 1 to frameBytesMax
    OPCODE => uint8, see schemas/frame-codec.ts
    BODY   => Avro binary of the record that OPCODE names
*/

export const lengthBytes = 4

/** What is left of a read that ended within a frame, or where the stream turned out to be bad. */
export interface Rest {
  /** Bytes of a frame that is not complete; undefined where the read ended between frames. A view on `bytes`. */
  readonly partial: Uint8Array | undefined
  /** Bytes that the frame will have, LENGTH included; 0 while not even LENGTH is complete. */
  readonly partialBytes: number
  readonly error: GatewayError | undefined
}

const nothingLeft: Rest = { partial: undefined, partialBytes: 0, error: undefined }

/**
 * Takes the complete frames off `bytes`, in order, into `frames`. Their payloads are views on `bytes`. After an error
 * nothing more is to be read from that client.
 *
 * @param bytes where a frame begins
 */
export function takeFrames (bytes: Buffer, frameBytesMax: number, frames: Frame[]): Rest {
  const { length } = bytes
  let start = 0
  while (length - start >= lengthBytes) {
    const frameBytes = bytes.readUInt32BE(start)
    // Checked before anything is kept for it: a length is all it takes to ask for 4 GiB.
    if (frameBytes < 1 || frameBytes > frameBytesMax) {
      return bad(`a frame of ${frameBytes} bytes: want 1 to ${frameBytesMax}`)
    }
    const end = start + lengthBytes + frameBytes
    if (end > length) return { partial: bytes.subarray(start), partialBytes: end - start, error: undefined }
    try {
      frames.push(decodeFrame(bytes, start + lengthBytes, end))
    } catch (err) {
      return { partial: undefined, partialBytes: 0, error: err as GatewayError }
    }
    start = end
  }
  return start === length ? nothingLeft : { partial: bytes.subarray(start), partialBytes: 0, error: undefined }
}

function bad (message: string): Rest {
  return { partial: undefined, partialBytes: 0, error: new GatewayError('bad-frame', message) }
}
