import { pino } from 'pino'
import t from 'tap'
import { readConfig } from '../../gateway/config.js'
import { openClusterStores } from '../../gateway/stores-cluster.js'
import { put } from '../../projections/tables/tables.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

/** Of 1 MiB each: far more than Redis takes while a report goes there and back. */
const writesBefore = 100

t.test('What nodes say of themselves', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 450_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const config = readConfig({
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: `busy-${process.pid}`,
    LEDGERLINE_PARTITIONS: '1',
  })
  const { tables, close } = await openClusterStores(config, pino({ level: 'silent' }), nobodyWatches)
  t.teardown(close)
  await tables.apply('nodes', 0, [put('n1', 'epoch', 1)], { next: 1n, atMs: 1 })

  await t.test('does not wait in Redis behind what its clients have it write', async t => {
    const ended: string[] = []
    const note = (what: string) => () => { ended.push(what) }
    const value = 'x'.repeat(1 << 20)
    const writes = Array.from({ length: writesBefore }, (_, i) =>
      tables.apply('presence', 0, [put('ann', `${i}`, value)], { next: BigInt(i + 1), atMs: 1 })
        .catch(() => {}).finally(note('presence'))) // on a busy machine some take too long
    const look = tables.get('nodes', 0, 'n1')
    const report = tables.apply('nodes', 0, [put('n1', 'epoch', 2)], { next: 2n, atMs: 2 })
    await Promise.all([...writes, look.finally(note('look')), report.finally(note('report'))])
    t.match((await look).get('epoch'), /^[12]$/, 'what is asked in one turn goes at its end, behind the report')
    t.not(ended.at(-1), 'report', 'on the same connection it would come last')
  })
})
