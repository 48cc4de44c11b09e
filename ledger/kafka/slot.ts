import type { Stream } from '../../schemas/streams.js'
import type { Share } from '../pending.js'
import { recordBytesMax, type Append, type Outgoing } from './outgoing.js'
import type { Stamp } from './record-batch.js'

/** One partition of one topic: what waits for it, and what was sent and has no outcome. */
export interface Slot {
  readonly stream: Stream<any>
  readonly topic: string
  readonly partition: number
  readonly queue: Append[]
  /** Bytes of both. */
  readonly share: Share
  outgoing: Outgoing | undefined
  /** What the next batch gets; undefined until a broker has given out a producer id. */
  stamp: Stamp | undefined
  bytesMax: number
  /** Among those that a lane holds. */
  held: boolean
  /** When the batch that is being sent again was sent first. */
  failingSinceMs: number | undefined
  /** The offset after the last acked record. */
  next: bigint
}

export function newSlot (stream: Stream<any>, topic: string, partition: number): Slot {
  return {
    stream,
    topic,
    partition,
    queue: [],
    share: { sent: 0, own: 0 },
    outgoing: undefined,
    stamp: undefined,
    bytesMax: recordBytesMax,
    held: false,
    failingSinceMs: undefined,
    next: 0n,
  }
}

/** What the batch behind `outgoing` gets. */
export function stampAfter ({ stamp: { producerId, producerEpoch, sequence }, records }: Outgoing): Stamp {
  return { producerId, producerEpoch, sequence: (sequence + records) % 2 ** 31 }
}

/**
 * What became of a batch. `not-stored`: another try may go better. `wrong-producer`: what the broker knows of the
 * producer does not go with the batch, which goes again under a new id. `refused`: it never will be stored.
 */
export type Verdict = 'stored' | 'not-stored' | 'unknown' | 'wrong-producer' | 'too-large' | 'refused'

const verdicts = new Map<number, Verdict>([
  [0, 'stored'],
  ...[3, 5, 6, 8, 9, 19].map(code => [code, 'not-stored'] as const), // no leader, another leader, too few replicas
  ...[-1, 7, 13, 20, 56].map(code => [code, 'unknown'] as const), // timed out, stored by too few replicas, disk failed
  ...[45, 46, 47, 49, 59].map(code => [code, 'wrong-producer'] as const), // its sequence, its epoch, its id
  ...[10, 18].map(code => [code, 'too-large'] as const),
])

/** @param errorCode of the answer to a produce request, for one partition */
export function verdictOf (errorCode: number): Verdict { return verdicts.get(errorCode) ?? 'refused' }
