import { mutate } from '../../schemas/mutations.js'
import { uplinks } from './dialects.js'
import type { Sent } from './hand-avro.js'

/** Most that a connection is fed with. */
const framesPerConnection = 30

/** What a client may say after `connect`, over and over. */
const vocabulary: Sent[] = [
  ...uplinks(1, 4), { op: 'uplink', seq: 300, service: 'chat', payload: 'příliš žluťoučký kůň', priority: -1 },
  { op: 'downlinkAck', seq: 0 }, { op: 'downlinkAck', seq: 1 }, { op: 'ping' }, { op: 'ping', downlinkSeq: 1 },
  { op: 'disconnect', endSession: true },
]

/** The same numbers below `below` for the same seed. */
function randomly (seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x6d2b79f5 | 0
    const mixed = Math.imul(state ^ state >>> 13, 0x297a2d39)
    return ((mixed ^ mixed >>> 16) >>> 0) % below
  }
}

/** What one connection is fed with. */
export interface Meal {
  /** Sent first; `undefined` on TCP. */
  readonly upgrade: Buffer | undefined
  readonly first: Buffer
  /** Whether `first` is a good connect, whose answer is waited for. */
  readonly waits: boolean
  readonly rest: Buffer[]
  /** Bytes of the transport itself are wrong, so that it may have read a close frame of its own. */
  readonly rough: boolean
  readonly mutated: number
}

/**
 * One connection's frames: some good, most mutated.
 *
 * @param pack puts a frame into what its transport wants around it
 */
export function meal (
  seed: number, hello: Sent, encode: (frame: Sent) => Buffer, pack: (frame: Buffer) => Buffer, upgrade?: Buffer
): Meal {
  const random = randomly(seed)
  const change = mutate(seed)
  const waits = random(4) > 0
  const frames: Sent[] = [hello]
  const words = random(8) === 0 ? vocabulary.length : vocabulary.length - 1 // the last one is a goodbye
  for (let i = random(framesPerConnection); i >= 0; i--) frames.push(vocabulary[random(words)]!)
  let rough = false
  let mutated = 0

  function mutation (frame: Buffer): Buffer {
    switch (random(10)) {
      case 0:
        rough = true
        return change(pack(frame))
      case 1: {
        const other = encode(frames[random(frames.length)]!)
        return pack(Buffer.concat([frame.subarray(0, random(frame.length)), other.subarray(random(other.length))]))
      }
      case 2: return pack(turnBit(frame, 0, frame.length, 8))
      case 3: return pack(change(frame))
      default: {
        // What follows a frame that is refused is not looked at, so most must not be.
        const payload = String(random(2 ** 30))
        const uplink = encode({ op: 'uplink', seq: 1 + random(600), priority: random(9) - 4, payload })
        return pack(turnBit(uplink, uplink.indexOf(payload), payload.length, 3))
      }
    }
  }

  function turnBit (frame: Buffer, from: number, length: number, bits: number): Buffer {
    frame[from + random(length)]! ^= 1 << random(bits)
    return frame
  }

  const parts = frames.map((frame, i) => {
    const good = encode(frame)
    if (i === 0 ? waits : random(8) === 0) return pack(good)
    mutated++
    return mutation(good)
  })
  return { upgrade, first: parts[0]!, waits, rest: parts.slice(1), rough, mutated }
}
