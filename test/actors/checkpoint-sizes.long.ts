import t from 'tap'
import { clusterSnapshots } from '../../actors/snapshots-cluster.js'
import { redisSnapshots } from '../../actors/snapshots-redis.js'
import type { StateChanges } from '../../actors/snapshots.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { ledger } from '../../schemas/streams.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { connectedRedis, redisMissing, startRedis } from '../cluster/redis.js'

/** Together 300 MB: far more than one call, one request or one transaction takes. */
const users = 3_000
const stateBytes = 100_000

t.test('A checkpoint of many large states', {
  skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 850_000,
}, async t => {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t, { args: ['--proto-max-bulk-len', '1mb'] })])
  const kafka = await openKafkaLog({
    brokers,
    topicPrefix: `sizes-${process.pid}`,
    clientId: 'test',
    streams: [{ stream: ledger, partitions: 1 }],
    changelogs: [{ name: 'states', like: ledger }],
    failed: (what, error) => { t.fail(what, error) },
  })
  t.teardown(() => kafka.close())
  const redis = await connectedRedis(t, url)
  const failures: unknown[] = []
  const snapshots = clusterSnapshots({
    changelog: kafka.changelog('states'),
    copy: redisSnapshots(redis, {
      prefix: 'sizes', identity: kafka.identity, onFailed: error => { failures.push(error) },
    }),
    identity: kafka.identity,
    onFailed: error => { failures.push(error) },
  })
  t.teardown(() => { snapshots.close() })
  await snapshots.checkpoint(0)

  const head = Buffer.alloc(100, 'head ')
  const part = Buffer.alloc(stateBytes, 'part ')
  const changes = new Map(Array.from({ length: users }, (_, i): [string, StateChanges] =>
    [`user-${i}`, { head, added: new Map([['m1', part]]), changed: new Map(), gone: [] }]))
  const statsBefore = await callsAndBytes()
  await snapshots.save(0, 7n, changes)
  t.strictSame(failures, [], 'is saved at the first try, within the deadlines of the servers')
  const stats = await callsAndBytes()
  const perCall = (stats.bytes - statsBefore.bytes) / (stats.calls - statsBefore.calls)
  t.ok(perCall < 1 << 20, `in calls that Redis answers others between: ${Math.round(perCall)} bytes each`)
  t.equal(await snapshots.savedTo(0), 7n)
  const last = await snapshots.load(0, `user-${users - 1}`, () => ['m1'])
  t.ok(last?.head.equals(head) && last.parts.get('m1')?.equals(part), 'to the last of them')

  async function callsAndBytes (): Promise<{ calls: number, bytes: number }> {
    const info = await redis.info('all')
    const count = (pattern: RegExp) => [...info.matchAll(pattern)].reduce((sum, [, n]) => sum + Number(n), 0)
    return { calls: count(/cmdstat_eval(?:sha)?:calls=(\d+)/g), bytes: count(/total_net_input_bytes:(\d+)/g) }
  }
})
