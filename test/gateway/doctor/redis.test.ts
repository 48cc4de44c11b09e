import t from 'tap'
import type { Redis } from 'ioredis'
import type { Finding } from '../../../gateway/doctor/finding.js'
import { redisFindings } from '../../../gateway/doctor/redis.js'
import { connectedRedis, redisMissing, startRedis, startRedisCluster } from '../../cluster/redis.js'

const skip = redisMissing() ?? false
const bad = (findings: readonly Finding[]) => findings.filter(({ verdict }) => verdict !== 'ok')

t.test('a Redis as it comes is well', { skip }, async t => {
  const { url } = await startRedis(t)
  const findings = await redisFindings(await connectedRedis(t, url), 'doctor')
  t.strictSame(findings.map(({ area, subject }) => `${area}: ${subject}`), [
    'redis: version', 'redis: role', 'redis: maxmemory-policy', 'redis: disk', 'redis: timeout', 'redis: permissions',
    'redis: round trip', 'clock: against Redis',
  ])
  t.strictSame(bad(findings), [])
})

t.test('a Redis that evicts what it was given is fatal, and one that is nearly full is told', { skip }, async t => {
  const { url } = await startRedis(t, { args: ['--maxmemory', '16mb', '--maxmemory-policy', 'allkeys-lru'] })
  const redis = await connectedRedis(t, url) as Redis
  for (let i = 0; i < 13; i++) await redis.set(`large ${i}`, Buffer.alloc(1 << 20))
  t.match(bad(await redisFindings(redis, 'doctor')), [
    { subject: 'maxmemory-policy', verdict: 'fatal', found: 'allkeys-lru', wanted: 'noeviction', fix: /CONFIG SET/ },
    { subject: 'used memory', verdict: 'warning', found: /of 16 MiB/ },
  ])
})

t.test('a replica is told apart', { skip }, async t => {
  const master = await startRedis(t)
  const { url } = await startRedis(t, { args: ['--replicaof', '127.0.0.1', `${master.port}`] })
  const redis = await connectedRedis(t, url)
  t.match(bad(await redisFindings(redis, 'doctor')).filter(({ verdict }) => verdict === 'fatal'), [
    { subject: 'role', found: 'slave', wanted: 'master' },
  ])
})

t.test('a user who may not do what a node does is told which command is denied, and what to type', { skip }, async t => {
  const { url, port } = await startRedis(t)
  const admin = await connectedRedis(t, url) as Redis
  const login = `redis://reader:secret@127.0.0.1:${port}`
  await admin.call('ACL', 'SETUSER', 'reader', 'on', '>secret', '~*', '&*', '+@all', '-spublish', '-config')
  const denied = bad(await redisFindings(await connectedRedis(t, login), 'doctor'))
  t.match(denied, [
    { subject: 'timeout', verdict: 'unknown', found: /config/i },
    { subject: 'permissions', verdict: 'fatal', found: /spublish/i },
  ])
  const typed = denied[1]!.fix.split(' ').slice(3)
  await admin.call('ACL', 'SETUSER', 'reader', 'resetkeys', 'resetchannels', '-@all', ...typed)
  const after = await redisFindings(await connectedRedis(t, login), 'doctor')
  t.strictSame(bad(after), [], 'after that it may')
})

t.test('a clock that is off is told of', { skip }, async t => {
  const { url } = await startRedis(t)
  const findings = await redisFindings(await connectedRedis(t, url), 'doctor', () => Date.now() + 60_000)
  t.match(bad(findings), [{ area: 'clock', verdict: 'warning', found: /ms ahead/, fix: /chrony/ }])
})

t.test('each master of a Redis Cluster is looked at', { skip }, async t => {
  const { url } = await startRedisCluster(t)
  const findings = await redisFindings(await connectedRedis(t, url), 'doctor')
  t.equal(new Set(findings.map(({ area }) => area).filter(area => area.startsWith('redis '))).size, 3)
  t.strictSame(bad(findings), [])
})
