import t from 'tap'
import { ChangelogFenced } from '../../ledger/changelog.js'
import { kafkaChangelog } from '../../ledger/kafka/changelog.js'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import type { Reader } from '../../ledger/kafka/reader.js'

const timedOut = 7
const outOfOrder = 45

/** A broker that drops repeats by sequence alone, as Kafka does, whatever became of their transaction. */
class Broker {
  readonly committed: string[] = []
  /** What becomes of the next batches: not stored, or stored without an answer. */
  readonly faults: Array<'lost' | 'unanswered'> = []
  #open: string[] = []
  #next = 0
  readonly #seen = new Map<number, number>()

  async send ({ name }: { name: string }, question: any): Promise<object> {
    if (name === 'InitProducerId') return { errorCode: 0, producerId: '1', producerEpoch: 0 }
    if (name === 'AddPartitionsToTxn') return { errors: [] }
    if (name === 'EndTxn') {
      if (question.transactionResult) this.committed.push(...this.#open)
      this.#open = []
      return { errorCode: 0 }
    }
    const batch: Buffer = question.batches[0].batch
    const sequence = batch.readInt32BE(53)
    const records = batch.readInt32BE(57)
    const answer = (errorCode: number) => ({ throttleMs: 0, partitions: [{ errorCode }] })
    if (this.#seen.get(sequence) === records) return answer(this.faults.shift() === undefined ? 0 : timedOut)
    const fault = this.faults.shift()
    if (fault === 'lost') return answer(timedOut)
    if (sequence !== this.#next) return answer(outOfOrder)
    this.#seen.set(sequence, records)
    this.#next += records
    this.#open.push(batch.subarray(61).toString('latin1').replace(/[^a-z]/g, ''))
    return answer(fault === 'unanswered' ? timedOut : 0)
  }
}

async function open (broker: Broker) {
  const cluster = {
    topics: { batchBytesMax: () => 1_000_000, troubleOf: () => '' },
    leaderOf: () => 1,
    coordinatorOf: async () => 1,
    connection: async () => broker,
    refresh: async () => {},
  } as unknown as Cluster
  return await kafkaChangelog(cluster, {} as Reader, 'states', 50).open(0)
}

const changes = (text: string) => [{ key: Buffer.from(text), value: null }]
const always = <T>(fault: T) => Array.from({ length: 100 }, () => fault)

t.test('a write that was stored without an answer is written again, and is there', async t => {
  const broker = new Broker()
  const writer = await open(broker)
  await writer.write(changes('a'))
  broker.faults.push(...always('unanswered' as const))
  await t.rejects(writer.write(changes('b')), { code: 'ledger-unavailable' })
  broker.faults.length = 0
  await writer.write(changes('b'))
  t.strictSame(broker.committed, ['a', 'b'])
})

t.test('a write that was not stored makes its writer begin anew', async t => {
  const broker = new Broker()
  const writer = await open(broker)
  broker.faults.push(...always('lost' as const))
  await t.rejects(writer.write(changes('a')), { code: 'ledger-unavailable' })
  broker.faults.length = 0
  await t.rejects(writer.write(changes('a')), ChangelogFenced)
  t.strictSame(broker.committed, [])
})
