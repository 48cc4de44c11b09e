import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { readStoreConfig } from '../../gateway/read-config.js'
import { redisAccess } from '../../gateway/redis-access.js'
import { checkRedis } from '../../gateway/redis-refusals.js'
import { connectRedis, subscriberOf } from '../../gateway/redis.js'
import { watchWrites } from '../../gateway/redis-writes.js'
import type { Environment } from '../../gateway/setting.js'
import { keyPassword, makeCertificates, opensslMissing, type Issued } from '../cluster/certificates.js'
import { redisMissing, startRedis, startRedisCluster } from '../cluster/redis.js'
import { findPort, startProcess } from '../cluster/server-process.js'
import { until } from './node.js'

const skip = redisMissing() ?? opensslMissing() ?? false

async function open (t: Test, env: Environment): Promise<Redis | Cluster> {
  const config = readStoreConfig(env)
  const redis = await connectRedis(config.redisUrl!, redisAccess(config))
  t.teardown(() => { redis.disconnect() })
  return redis
}

/** Writes, publishes, and hears what is published. */
async function works (t: Test, redis: Redis | Cluster): Promise<void> {
  await checkRedis(redis, 'test', 'here')
  await redis.set('test:key', 'value')
  t.equal(await redis.get('test:key'), 'value')
  const subscriber = await subscriberOf(redis)
  t.teardown(() => { subscriber.disconnect() })
  const heard = once(subscriber, 'smessage')
  await subscriber.ssubscribe('test:channel')
  await redis.spublish('test:channel', 'hello')
  t.strictSame((await heard).slice(0, 2), ['test:channel', 'hello'])
}

t.test('Redis with TLS and ACL users', { skip }, async t => {
  const certificates = await makeCertificates(t)
  const { ca, server, client } = certificates
  const tlsPort = await findPort()
  const plain = await startRedis(t, {
    args: [...tlsArgs(tlsPort, server, ca), '--user', 'default', 'off', '--user', 'ann', 'on', '>p@ss w/d', '~test:*', '~{test.*',
      '&test:*', '+@all', '-@admin', '-@dangerous', '+info', '+role',
      '--user', 'bob', 'on', '>bob', '~other:*', '&other:*', '+@all'],
  })
  const url = `rediss://127.0.0.1:${tlsPort}`
  const withCertificate = { REDIS_SSL_CA_FILE: ca, REDIS_SSL_CERT_FILE: client.cert, REDIS_SSL_KEY_FILE: client.key }
  const asAnn = { REDIS_USERNAME: 'ann', REDIS_PASSWORD: 'p@ss w/d' }
  const files = t.testdir({ password: 'p@ss w/d\n' })
  const waysIn: Record<string, Environment> = {
    'a user of the URL': { REDIS_URL: `rediss://ann:p%40ss%20w%2Fd@127.0.0.1:${tlsPort}`, ...withCertificate },
    'a user of its own settings': { REDIS_URL: url, ...withCertificate, ...asAnn },
    'a password from a file': {
      REDIS_URL: url, ...withCertificate, REDIS_USERNAME: 'ann', REDIS_PASSWORD_FILE: `${files}/password`,
    },
    'a key with a password, by name': {
      REDIS_URL: `rediss://localhost:${tlsPort}`,
      ...withCertificate,
      ...asAnn,
      REDIS_SSL_KEY_FILE: certificates.encryptedKey,
      REDIS_SSL_KEY_PASSWORD: keyPassword,
    },
  }
  for (const [name, env] of Object.entries(waysIn)) {
    await t.test(`takes ${name}`, async t => works(t, await open(t, env)))
  }

  const refusals: Record<string, [Environment, RegExp]> = {
    'a wrong password': [{ REDIS_URL: url, ...withCertificate, ...asAnn, REDIS_PASSWORD: 'no' }, /refuses the login: check user and password in REDIS_URL/],
    'no password': [{ REDIS_URL: url, ...withCertificate }, /refuses the login/],
    'a CA that did not sign': [{ REDIS_URL: url, ...withCertificate, ...asAnn, REDIS_SSL_CA_FILE: certificates.otherCa }, /not trusted: name that of its CA in REDIS_SSL_CA_FILE/],
    'no client certificate': [{ REDIS_URL: url, REDIS_SSL_CA_FILE: ca, ...asAnn }, /it wants a client certificate/],
    'another server name': [{ REDIS_URL: url, ...withCertificate, ...asAnn, REDIS_SSL_SERVER_NAME: 'elsewhere' }, /set REDIS_SSL_SERVER_NAME/],
  }
  for (const [name, [env, message]] of Object.entries(refusals)) {
    await t.test(`${name} is named at once, with what to do`, async t => {
      await t.rejects(open(t, env), { code: 'misconfigured', message })
    })
  }

  await t.test('TLS where none is spoken is told apart from a Redis that is away', async t => {
    const url = `rediss://127.0.0.1:${plain.port}`
    await t.rejects(connectRedis(url, { firstConnectMs: 2_000, connectTimeoutMs: 200 }), {
      message: /not reached .* which is how a port without TLS answers, too/,
    })
  })

  await t.test('a user who may not do our work is told what to grant', async t => {
    const redis = await open(t, { REDIS_URL: `redis://bob:bob@127.0.0.1:${plain.port}` })
    await t.rejects(checkRedis(redis, 'test', 'here'), {
      code: 'misconfigured', message: /^Redis at here does not let this user work \(NOPERM .*\): ACL SETUSER/,
    })
  })
})

t.test('a Redis without sharded pub/sub is refused with its version', { skip }, async t => {
  const { url } = await startRedis(t, { args: ['--rename-command', 'SPUBLISH', ''] })
  const redis = await open(t, { REDIS_URL: url })
  await t.rejects(checkRedis(redis, 'test', 'here'), {
    code: 'misconfigured', message: /has no sharded pub\/sub, and is version 7\.\S+: want Redis 7 or later/,
  })
})

t.test('a replica is refused', { skip }, async t => {
  const master = await startRedis(t)
  const { url } = await startRedis(t, { args: ['--replicaof', '127.0.0.1', `${master.port}`] })
  const redis = await open(t, { REDIS_URL: url })
  await t.rejects(checkRedis(redis, 'test', 'here'), {
    code: 'misconfigured', message: /is a replica, which takes no writes/,
  })
})

t.test('a cluster whose nodes have names and certificates for them', { skip }, async t => {
  const certificates = await makeCertificates(t)
  const named = await certificates.issue('named', 'localhost', 'DNS:localhost')
  const tlsPorts = [await findPort(), await findPort(), await findPort()]
  await startRedisCluster(t, {
    args: i => [...tlsArgs(tlsPorts[i]!, named, certificates.ca), '--requirepass', 'secret', '--tls-cluster', 'yes', '--cluster-announce-hostname',
      'localhost', '--cluster-preferred-endpoint-type', 'hostname'],
    password: 'secret',
  })
  const redis = await open(t, {
    REDIS_URL: `rediss+cluster://:secret@localhost:${tlsPorts[0]}`,
    REDIS_SSL_CA_FILE: certificates.ca,
    REDIS_SSL_CERT_FILE: certificates.client.cert,
    REDIS_SSL_KEY_FILE: certificates.client.key,
  })
  t.equal((redis as Cluster).nodes('master').length, 3)
  await works(t, redis)
})

t.test('a Sentinel with TLS and a login of its own leads to the master, and its database', { skip }, async t => {
  const { ca, server, client } = await makeCertificates(t)
  const tlsPort = await findPort()
  await startRedis(t, { args: [...tlsArgs(tlsPort, server, ca), '--requirepass', 'secret', '--tls-replication', 'yes'] })
  const port = await findPort()
  const file = join(t.testdir(), 'sentinel.conf')
  writeFileSync(file, `bind 127.0.0.1\nport 0\ntls-port ${port}
tls-cert-file ${server.cert}\ntls-key-file ${server.key}
tls-ca-cert-file ${ca}\ntls-replication yes\nuser default off\nuser watcher on >its-own ~* &* +@all
sentinel monitor main 127.0.0.1 ${tlsPort} 1\nsentinel auth-pass main secret\n`)
  const sentinel = await startProcess('redis-server', [file, '--sentinel'], /Sentinel ID is/)
  t.teardown(() => sentinel.end('SIGKILL'))
  const env = {
    REDIS_URL: `rediss+sentinel://:secret@127.0.0.1:${port}/main/3`,
    REDIS_SSL_CA_FILE: ca,
    REDIS_SSL_CERT_FILE: client.cert,
    REDIS_SSL_KEY_FILE: client.key,
    REDIS_SENTINEL_USERNAME: 'watcher',
    REDIS_SENTINEL_PASSWORD: 'its-own',
  }
  const redis = await open(t, env)
  await works(t, redis)
  t.match(await redis.info('keyspace'), /db3:keys=/)
  await t.rejects(open(t, { ...env, REDIS_SENTINEL_PASSWORD: 'wrong' }), {
    code: 'misconfigured', message: /check REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD/,
  })
})

t.test('who only publishes leaves a master that becomes a replica', { skip }, async t => {
  const [first, second] = [await startRedis(t), await startRedis(t)]
  let port = first.port
  // A name that leads to the master, whoever that is.
  const name = createServer(socket => {
    const other = connect(port, '127.0.0.1')
    socket.pipe(other).pipe(socket)
    socket.on('error', () => other.destroy()).on('close', () => other.destroy())
    other.on('error', () => socket.destroy()).on('close', () => socket.destroy())
  }).listen(0, '127.0.0.1')
  t.teardown(() => name.close())
  await once(name, 'listening')
  const redis = await open(t, { REDIS_URL: `redis://127.0.0.1:${(name.address() as AddressInfo).port}` })
  const events: string[] = []
  t.teardown(watchWrites(redis, {
    prefix: 'test',
    everyMs: 50,
    demoted: reason => { events.push(reason) },
    writable: () => { if (events.at(-1) !== 'writable') events.push('writable') },
  }))
  const listener = new Redis(second.port)
  t.teardown(() => { listener.disconnect() })
  await listener.ssubscribe('test:channel')
  const heard = once(listener, 'smessage')

  port = second.port
  const old = new Redis(first.port)
  t.teardown(() => { old.disconnect() })
  await old.call('REPLICAOF', '127.0.0.1', `${second.port}`)
  const publishing = setInterval(() => { redis.spublish('test:channel', 'hello').catch(() => {}) }, 10)
  t.teardown(() => { clearInterval(publishing) })
  t.strictSame((await heard).slice(0, 2), ['test:channel', 'hello'], 'and is heard by those of the new one')
  clearInterval(publishing)
  await until('it is writable', () => events.at(-1) === 'writable')
  t.match(events.filter(event => event !== 'writable')[0], /^READONLY/, 'it tells of it')
  t.equal(events.at(-1), 'writable', 'and of the end')
})

function tlsArgs (port: number, { cert, key }: Issued, ca: string): string[] {
  return ['--tls-port', `${port}`, '--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', ca]
}
