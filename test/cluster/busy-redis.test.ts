import { Redis } from 'ioredis'
import { pino } from 'pino'
import t from 'tap'
import { readConfig } from '../../gateway/read-config.js'
import { openClusterStores } from '../../gateway/stores-cluster.js'
import { put } from '../../projections/tables/tables.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { until } from '../gateway/node.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

t.test('What nodes say of themselves', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 450_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const prefix = `busy-${process.pid}`
  const config = readConfig({
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_PARTITIONS: '1',
  })
  const { tables, close } = await openClusterStores(config, pino({ level: 'silent' }), nobodyWatches)
  t.teardown(close)

  await t.test('does not wait in Redis behind what its clients have it write', async t => {
    // Redis carries out the commands of one connection one after the other. Which ones have a key of the table:
    const connections = { nodes: new Set<string>(), presence: new Set<string>() }
    const client = new Redis(redis.url)
    const monitor = await client.monitor()
    t.teardown(() => {
      monitor.disconnect()
      client.disconnect()
    })
    monitor.on('monitor', (_time: string, args: string[], connection: string) => {
      if (connection === 'lua') return // a script's own, whose connection is that of the script
      for (const [table, of] of Object.entries(connections)) {
        if (args.some(arg => arg.startsWith(`{${prefix}.0}:${table}`))) of.add(connection)
      }
    })
    await tables.apply('presence', 0, [put('ann', 'c1', 'x')], { next: 1n, atMs: 1 })
    await tables.get('presence', 0, 'ann')
    await until('the commands for clients are seen', () => connections.presence.size > 0)
    await tables.apply('nodes', 0, [put('n1', 'epoch', 1)], { next: 1n, atMs: 1 })
    t.equal((await tables.get('nodes', 0, 'n1')).get('epoch'), 1)
    await until('those of the node are seen', () => connections.nodes.size > 0)
    await tables.apply('presence', 0, [put('ann', 'last', 'x')], { next: 2n, atMs: 1 })
    t.strictSame([...connections.nodes].filter(each => connections.presence.has(each)), [], 'they have their own connection')
  })
})
