import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'
import t from 'tap'
import { checkRedis } from '../../gateway/redis-refusals.js'
import { connectRedis, subscriberOf } from '../../gateway/redis.js'
import { redisUrl } from '../../gateway/redis-url.js'
import { redisMissing, startRedis, startRedisCluster } from '../cluster/redis.js'
import { findPort, startProcess } from '../cluster/server-process.js'
import { until } from './node.js'

const none = { tls: false, username: undefined, password: undefined, db: 0, masterName: undefined }

t.test('a URL', async t => {
  const read = {
    'redis://localhost': { ...none, kind: 'single', nodes: [{ host: 'localhost', port: 6379 }] },
    'redis://10.0.0.1:7000/3': { ...none, kind: 'single', nodes: [{ host: '10.0.0.1', port: 7000 }], db: 3 },
    'rediss://ann:p%40ss@[::1]:7000/': {
      ...none, kind: 'single', nodes: [{ host: '::1', port: 7000 }], tls: true, username: 'ann', password: 'p@ss',
    },
    'redis://:secret@a': { ...none, kind: 'single', nodes: [{ host: 'a', port: 6379 }], password: 'secret' },
    'redis://h1:7001,h2': { ...none, kind: 'cluster', nodes: [{ host: 'h1', port: 7001 }, { host: 'h2', port: 6379 }] },
    'rediss+cluster://h1': { ...none, kind: 'cluster', nodes: [{ host: 'h1', port: 6379 }], tls: true },
    'redis+sentinel://:p@s1,s2:7/my%20master/2': {
      ...none,
      kind: 'sentinel',
      nodes: [{ host: 's1', port: 26379 }, { host: 's2', port: 7 }],
      password: 'p',
      masterName: 'my master',
      db: 2,
    },
  }
  for (const [url, parsed] of Object.entries(read)) t.strictSame(redisUrl(url), parsed, `is read: ${url}`)

  const refused = ['', 'localhost:6379', 'http://a', 'redis://', 'redis://a:0', 'redis://a:65536', 'redis://a:x', 'redis://a,',
    'redis://a/b', 'redis://a/1/2', 'redis://a?x=1', 'redis://a b', 'redis://a,b/1', 'redis://%:x@a', 'redis://secret@a',
    'redis+sentinel://a', 'redis+sentinel://a/m/1/2', 'redis+sentinel://a/m/x', 'redis+other://a']
  for (const url of refused) t.equal(redisUrl(url), undefined, `is refused: ${url}`)
})

t.test('a Redis that can not be reached', async t => {
  const server = createServer(socket => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const errors: Error[] = []
  for (const hosts of [`127.0.0.1:${port}`, `127.0.0.1:${port},127.0.0.1:${port}`]) {
    const connecting = connectRedis(`redis://:secret@${hosts}`, { firstConnectMs: 300, onError: err => errors.push(err) })
    await t.rejects(connecting, { message: `Redis at ${hosts}: not reached within 300 ms` }, 'is named, without the password')
  }
  const before = errors.length
  await delay(300)
  t.equal(errors.length, before, 'is left alone then')
  await t.rejects(connectRedis('redis://'), /not the URL/)
})

t.test('a URL that takes a single Redis for a cluster, or the other way round, says so at once', {
  skip: redisMissing() ?? false,
}, async t => {
  const single = new URL((await startRedis(t)).url).host
  await t.rejects(connectRedis(`redis+cluster://${single}`), {
    name: 'RedisNotAdmitted', message: new RegExp(`^Redis at ${single}: it is no cluster: begin REDIS_URL with redis`),
  })
  const { urls } = await startRedisCluster(t)
  const redis = await connectRedis(urls[0]!)
  t.teardown(() => { redis.disconnect() })
  const prefixes = ['a', 'b', 'c', 'd', 'e', 'f'] // the node has the keys of some
  const refusals = await Promise.all(prefixes.map(prefix =>
    checkRedis(redis, prefix, 'one').then(() => '', (err: Error) => err.message)))
  t.strictSame([...new Set(refusals)].sort(),
    ['', 'Redis at one is a node of a cluster: begin REDIS_URL with redis+cluster or rediss+cluster'])
})

t.test('a database that there is not is none of those that there are', { skip: redisMissing() ?? false }, async t => {
  const { url } = await startRedis(t)
  const redis = await connectRedis(`${url}/99`)
  t.teardown(() => { redis.disconnect() })
  await t.rejects(checkRedis(redis, 'a', 'one'), { message: 'Redis at one has no database 99: name another one in REDIS_URL' })
})

t.test('a connection', { skip: redisMissing() ?? false }, async t => {
  const server = await startRedis(t)
  const redis = await connectRedis(`${server.url}/1`, { commandTimeoutMs: 1_000 })
  t.teardown(() => redis.disconnect())
  t.type(redis, Redis)

  const subscriber = await subscriberOf(redis)
  t.teardown(() => subscriber.disconnect())
  const messages: string[] = []
  subscriber.on('smessage', (_channel: string, message: string) => messages.push(message))
  await subscriber.ssubscribe('a channel')
  await redis.spublish('a channel', 'first')

  await redis.set('key', 'value')
  process.kill(server.pid, 'SIGSTOP')
  await t.rejects(redis.get('key'), /timed out/, 'waits so long for an answer and no longer')
  const late = redis.get('key')
  await t.rejects(late)
  await until('the end is seen', () => redis.status !== 'ready')
  await t.rejects(redis.get('key'), /isn't writeable/, 'queues nothing once it sees that Redis is away')
  process.kill(server.pid, 'SIGCONT')
  await until('it is back', () => redis.status === 'ready')
  t.equal(await redis.get('key'), 'value', 'comes back by itself')

  const restarted = server.restart()
  await until('the end is seen', () => redis.status !== 'ready')
  await t.rejects(redis.get('key'), 'fails at once while it is gone')
  await restarted
  await until('both are back', () => redis.status === 'ready' && subscriber.status === 'ready')
  t.equal(await redis.get('key'), 'value')
  await until('it is subscribed again', async () => {
    await redis.spublish('a channel', 'second')
    return messages.length >= 2
  })
  t.strictSame(messages.slice(0, 2), ['first', 'second'], 'subscribes again')
})

t.test('a connection to a cluster', { skip: redisMissing() ?? false }, async t => {
  const { urls } = await startRedisCluster(t)
  const redis = await connectRedis(`redis+cluster://${new URL(urls[0]!).host}`)
  t.teardown(() => redis.disconnect())
  t.type(redis, Cluster)
  t.strictSame((redis as Cluster).nodes('master').map(({ status }) => status), ['ready', 'ready', 'ready'],
    'has one to every master before the first command')
  const subscriber = await subscriberOf(redis)
  t.teardown(() => subscriber.disconnect())
  const messages: string[] = []
  subscriber.on('smessage', (channel: string, message: string) => messages.push(`${channel} ${message}`))
  const channels = ['a', 'b', 'c', 'd']
  for (const channel of channels) await subscriber.ssubscribe(channel)
  for (const channel of channels) await redis.spublish(channel, 'hello')
  await until('all have come', () => messages.length >= channels.length)
  t.strictSame(messages.sort(), channels.map(channel => `${channel} hello`), 'takes sharded channels of any slot')
})

t.test('a connection by way of Sentinel', { skip: redisMissing() ?? false }, async t => {
  const masters = [await startRedis(t), await startRedis(t)] as const
  const port = await findPort()
  const config = join(t.testdir(), 'sentinel.conf')
  writeFileSync(config, `bind 127.0.0.1\nport ${port}\nsentinel monitor main 127.0.0.1 ${masters[0].port} 1\n`)
  const sentinel = await startProcess('redis-server', [config, '--sentinel'], /Sentinel ID is/)
  t.teardown(() => sentinel.end('SIGKILL'))
  const redis = await connectRedis(`redis+sentinel://127.0.0.1:${port}/main/2`)
  t.teardown(() => redis.disconnect())
  await redis.set('key', 'value')
  t.match(await redis.info('keyspace'), /db2:keys=1/, 'leads to the master and its database')

  const asked = await connectRedis(`redis://127.0.0.1:${port}`) // Sentinel speaks the same protocol
  t.teardown(() => asked.disconnect())
  await asked.call('SENTINEL', 'REMOVE', 'main')
  await asked.call('SENTINEL', 'MONITOR', 'main', '127.0.0.1', masters[1].port, 1)
  await masters[0].stop()
  await until('it is led there', async () => await redis.get('key').catch(() => 'away') === null)
  t.equal(await redis.get('key'), null, 'and to the next master when that one is gone')
})
