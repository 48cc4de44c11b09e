import t, { type Test } from 'tap'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import { Delivery } from '../../ledger/kafka/delivery.js'
import { Fetcher } from '../../ledger/kafka/fetcher.js'
import { batchWriter, stamp } from '../../ledger/kafka/record-batch.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { until } from './log-contract.js'

interface Question {
  readonly from: ReadonlyArray<{ topic: string, partition: number, offset: bigint, bytesMax: number }>
}

t.test('a follower of many partitions', async t => {
  t.test('that is stuck holds a bounded number of bytes, and those of it that are not stuck go on', async t => {
    const { deliveries, release } = following(t, 64)
    const [free, ...stuck] = deliveries
    await until(() => stuck.every(({ queuedBytes }) => queuedBytes > 0))
    const { delivered } = free!
    await until(() => free!.delivered > delivered + 50n)
    const bytes = stuck.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0)
    t.ok(bytes < 48 << 20, `${bytes} bytes wait`)
    t.ok(bytes > 16 << 20)
    release()
    await until(() => stuck.every(({ delivered }) => delivered > 20n))
  })
})

/** All but the first partition stand at their first record until `release`. Partitions have no end. */
function following (t: Test, partitions: number) {
  let release = () => {}
  const released = new Promise<void>(resolve => { release = resolve })
  const cluster = {
    leaderOf: () => 1,
    refresh: async () => {},
    endLane () {},
    connection: async () => ({
      async send (_api: unknown, { from }: Question) {
        await new Promise(resolve => setImmediate(resolve))
        return from.slice(0, 8).map(({ topic, partition, offset, bytesMax }) =>
          ({ topic, partition, errorCode: 0, end: offset + 9n, aborted: [], batches: batchAt(offset, bytesMax) }))
      },
    }),
  } as unknown as Cluster
  const failed = (what: string, err: Error) => { t.fail(what, err) }
  const fetcher = new Fetcher({
    cluster, topic: 'test', lane: 'test', groupId: 'test', health: nobodyWatches, failed,
  })
  t.teardown(() => { fetcher.close() })
  const deliveries = Array.from({ length: partitions }, (_, partition) => new Delivery<string>(partition, 0n, {
    follower: {
      async assigned () { return 0n },
      received: () => partition === 0 ? undefined : released,
      async revoked () {},
    },
    decode: () => ['item'],
    drained: () => { fetcher.wake() },
    rejected: (_offset, _bytes, reason) => { t.fail(reason) },
    failed: err => { t.fail(`${err as Error}`) },
  }))
  for (const delivery of deliveries) fetcher.add(delivery)
  return { deliveries, release }
}

function batchAt (offset: bigint, bytes: number): Buffer {
  batchWriter.start()
  for (let i = 0; i < 4; i++) batchWriter.add(i, null, Buffer.alloc(bytes >> 2), [])
  const batch = Buffer.from(batchWriter.finish(4, 1))
  stamp(batch, { producerId: -1n, producerEpoch: -1, sequence: -1 })
  batch.writeBigInt64BE(offset, 0)
  return batch
}
