import { setTimeout as sleep } from 'node:timers/promises'
import { GatewayError } from '../../schemas/errors.js'
import { ChangelogFenced, type Change, type Changelog, type ChangelogWriter } from '../changelog.js'
import type { Cluster } from './cluster.js'
import { leaderOf } from './offsets.js'
import type { Reader } from './reader.js'
import { produce } from './record-apis.js'
import { batchWriter, stamp, transactional, type Unreadable } from './record-batch.js'
import { policySetting } from './topic-settings.js'
import type { WantedTopic } from './topics.js'
import { judgeError, tell } from './verdicts.js'
import { addPartitionsToTxn, type Api, endTxn, initTransactions, KafkaError } from './wire.js'

/** What one batch takes, below the 1 MB that a topic of somebody else may allow. */
const batchBytesMax = 768 << 10
const batchOverhead = 1 << 10
const recordBytes = 32
/** How long a transaction may be under way before the brokers abort it. */
const transactionMs = 60_000
const answerMs = 5_000
const giveUpMsDefault = 10_000
const retryMsMin = 20
const retryMsMax = 1_000
/** The requests of a lane wait for each other. */
const lanes = 4
/** Markers of transactions stand among the changes. */
const lookBack = [8n, 512n]

/**
 * Somebody else has the transactional id by now, or the brokers have forgotten it, as they do after a week without a
 * write: in any case whoever wants to write has to open the partition anew, and learns what stands there.
 */
const fencedCodes = new Set([45, 47, 49, 59, 90])
const duplicateSequence = 46
const invalidState = 48

export const changelogConfig: Readonly<Record<string, string>> = {
  [policySetting]: 'compact',
  // Compaction leaves the segment that is written to alone: small ones keep what has to be read again short.
  'segment.bytes': `${64 << 20}`,
  'min.cleanable.dirty.ratio': '0.3',
}

/** A topic of our own, of which the brokers keep the last record of each key for ever. */
export function changelogTopic (topic: string, partitions: number): WantedTopic {
  return { topic, partitions, config: changelogConfig }
}

/**
 * A changelog in a compacted topic. Each partition has a transactional id: the broker refuses a writer who slept
 * through a change of owners, and readers see all of a call of `write` or nothing.
 */
export function kafkaChangelog (
  cluster: Cluster, reader: Reader, topic: string, giveUpMs = giveUpMsDefault
): Changelog {
  return {
    async open (partition) {
      const writer = new Writer(cluster, reader, topic, partition, giveUpMs)
      await writer.begin()
      return writer
    },
  }
}

class Writer implements ChangelogWriter {
  private readonly transactionalId: string
  private readonly lane: string
  /** The broker that keeps the transactional id, as long as it says so. */
  private coordinator: number | undefined
  private producerId = 0n
  private producerEpoch = 0
  private sequence = 0
  /** What was begun may not have come to its end. */
  private underWay = false
  /** Readers see all that was written: a commit is answered before they do. */
  private isVisible = true

  constructor (
    private readonly cluster: Cluster, private readonly reader: Reader,
    private readonly topic: string, private readonly partition: number, private readonly giveUpMs: number
  ) {
    this.transactionalId = `${topic}.${partition}`
    this.lane = `changelog ${partition % lanes}`
  }

  /** Ends what others have begun, and keeps them from beginning anything else. */
  async begin (): Promise<void> {
    const { transactionalId } = this
    const { producerId, producerEpoch } = await this.coordinate(initTransactions, {
      transactionalId, transactionTimeout: transactionMs,
    })
    this.producerId = BigInt(producerId)
    this.producerEpoch = producerEpoch
    this.sequence = 0
    this.underWay = false
    this.isVisible = true
  }

  async write (changes: readonly Change[]): Promise<void> {
    const { topic, partition } = this
    if (this.underWay) await this.end(false)
    this.underWay = true
    this.isVisible = false
    const topics = [{ topic, partitions: [partition] }]
    await this.coordinate(addPartitionsToTxn, { ...this.producer, topics })
    const bytesMax = Math.min(batchBytesMax, this.cluster.topics.batchBytesMax(topic) - batchOverhead)
    for (const piece of piecesOf(changes, bytesMax)) await this.produce(piece)
    await this.end(true)
    this.underWay = false
  }

  async next (): Promise<bigint> {
    await this.makeVisible()
    return (await this.reader.bounds(this.topic, this.partition)).next
  }

  async * read (from: bigint): AsyncGenerator<Change> {
    await this.makeVisible()
    for await (const { key, value } of this.reader.records(this.topic, this.partition, { from }, unreadable)) {
      if (key) yield { key, value }
    }
  }

  async last (key: Buffer): Promise<Buffer | null | undefined> {
    const { topic, partition } = this
    await this.makeVisible()
    const { first, next: to } = await this.reader.bounds(topic, partition)
    for (const back of [...lookBack, to]) {
      const from = to - back > first ? to - back : first
      let found: Buffer | null | undefined
      for await (const record of this.reader.records(topic, partition, { from, to }, unreadable)) {
        if (record.key?.equals(key)) found = record.value && Buffer.from(record.value)
      }
      if (found !== undefined || from === first) return found
    }
    return undefined
  }

  /** The brokers answer who begins anew once everything before has come to its end. */
  private async makeVisible (): Promise<void> { if (!this.isVisible) await this.begin() }

  private get producer () {
    const { transactionalId, producerId, producerEpoch } = this
    return { transactionalId, producerId: `${producerId}`, producerEpoch }
  }

  private async end (commits: boolean): Promise<void> {
    try {
      await this.coordinate(endTxn, { ...this.producer, transactionResult: commits })
    } catch (err) {
      // There is nothing to abort: its end was stored, and the answer was lost.
      if (!commits && err instanceof KafkaError && err.code === invalidState) return
      throw err
    }
  }

  private async produce (changes: readonly Change[]): Promise<void> {
    const { cluster, topic, partition, producerId, producerEpoch, sequence } = this
    batchWriter.start()
    changes.forEach(({ key, value }, i) => { batchWriter.add(i, key, value, []) })
    const batch = transactional(batchWriter.finish(changes.length, Date.now()))
    stamp(batch, { producerId, producerEpoch, sequence })
    // Before it is known to be stored: a batch of the next transaction under a sequence that was used would be taken
    // for this one, and dropped. Where it was not stored, the broker misses it, and the partition is opened anew.
    this.sequence = (sequence + changes.length) % 2 ** 31
    await this.patiently(async () => {
      const connection = await cluster.connection(await leaderOf(cluster, topic, partition), this.lane)
      const question = {
        transactionalId: this.transactionalId, timeoutMs: answerMs, batches: [{ topic, partition, batch }],
      }
      const { partitions: [answer] } = await connection.send(produce, question, 2 * answerMs)
      const { errorCode } = answer!
      if (errorCode !== 0 && errorCode !== duplicateSequence) {
        throw new KafkaError(errorCode, `${topic}/${partition}`)
      }
    }, () => cluster.refresh())
  }

  /** Asks whoever keeps the transactional id. */
  private async coordinate<Question, Answer extends CoordinatorAnswer> (
    api: Api<Question, Answer>, question: Question
  ): Promise<Answer> {
    const { cluster, transactionalId } = this
    return await this.patiently(async () => {
      this.coordinator ??= await cluster.coordinatorOf(transactionalId, 'transaction')
      const connection = await cluster.connection(this.coordinator, this.lane)
      const answer = await connection.send(api, question, answerMs)
      const code = codeOf(answer)
      if (code !== 0) throw new KafkaError(code, `${api.name} of ${transactionalId}`)
      return answer
    }, async () => {
      this.coordinator = undefined
      await cluster.refresh()
    })
  }

  /**
   * Tries until it succeeds: the same request twice does what it does once.
   *
   * @throws ChangelogFenced, GatewayError `ledger-unavailable` after a while
   */
  private async patiently<T> (attempt: () => Promise<T>, between: () => Promise<void>): Promise<T> {
    const end = performance.now() + this.giveUpMs
    for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        return await attempt()
      } catch (err) {
        if (err instanceof KafkaError && fencedCodes.has(err.code)) {
          throw new ChangelogFenced(`${this.topic}/${this.partition}: another node writes it now`, { cause: err })
        }
        if (err instanceof KafkaError && err.code === invalidState) throw err
        const judgement = judgeError(err)
        if (judgement.verdict === 'permanent' || performance.now() > end) {
          const reason = tell((err as Error).message, judgement)
          throw new GatewayError('ledger-unavailable', reason, { cause: err })
        }
      }
      await sleep(waitMs)
      await between().catch(() => {})
    }
  }
}

interface CoordinatorAnswer {
  readonly errorCode?: number
  readonly errors?: ReadonlyArray<{ readonly partitionErrors: ReadonlyArray<{ readonly errorCode: number }> }>
}

/** The first error of an answer; 0 for none. */
function codeOf ({ errorCode = 0, errors = [] }: CoordinatorAnswer): number {
  if (errorCode !== 0) return errorCode
  const all = errors.flatMap(({ partitionErrors }) => partitionErrors)
  return all.find(each => each.errorCode !== 0)?.errorCode ?? 0
}

function * piecesOf (changes: readonly Change[], bytesMax: number): Generator<readonly Change[]> {
  let start = 0
  let bytes = 0
  for (const [i, { key, value }] of changes.entries()) {
    const more = key.length + (value?.length ?? 0) + recordBytes
    if (i > start && bytes + more > bytesMax) {
      yield changes.slice(start, i)
      start = i
      bytes = 0
    }
    bytes += more
  }
  yield changes.slice(start)
}

/** Without a part of it a state would be another one, and nobody would know. */
function unreadable ({ offset, reason }: Unreadable): never {
  throw new GatewayError('bad-record', `the changelog can not be read at ${offset}: ${reason}`)
}
