import t, { type Test } from 'tap'
import { connected } from '../gateway/edge/dialects.js'
import { startTestNode, type TestNode, until } from '../gateway/node.js'
import { kafkaMissing, startKafka } from './kafka.js'
import { redisMissing, startRedis } from './redis.js'

const topicPrefix = `frozen-${process.pid}`

t.test('A cluster whose stores are frozen', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 110_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const start = (nodeId: string, roles: string) => startTestNode(t, {
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: topicPrefix,
    LEDGERLINE_NODE_ID: nodeId,
    LEDGERLINE_ROLES: roles,
    LEDGERLINE_PARTITIONS: '4',
    LEDGERLINE_LEASE_MS: '1500',
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
  })
  const [edge, other] = await Promise.all([start('edge', 'edge'), start('other', 'edge,users,push,projections,ip-config')])

  await t.test('answers with 503, or from an old copy, while Redis is frozen', async t => {
    await frozen(t, redis.pid, async () => {
      for (const [method, path, body] of [...lookups, signal] as const) {
        t.match(await asked(other, method, path, body), { status: 503, code: 'not-ready' }, `${method} ${path}`)
      }
      t.match(await asked(other, 'GET', '/v1/nodes'), { status: 200, text: /"asOf"/ })
      t.match(await asked(other, 'GET', '/v1/ip-config'), { status: 200, text: /"asOfMs"/ })
      await until('it is known to be in trouble', async () => (await asked(other, 'GET', '/readyz')).status === 503)
      t.match(await asked(other, 'GET', '/v1/health'), { status: 200, text: /"heals"/ })
    })
    await until('it is ready again', async () => (await asked(other, 'GET', '/readyz')).status === 200)
  })

  await t.test('answers with 503 while Kafka is frozen', async t => {
    await connected(t, edge, 'TCP', 'ann')
    await until('ann is online', async () => (await asked(other, ...signal)).text.includes('"sent"'))
    await frozen(t, kafka.pids[0]!, async () => {
      for (const [method, path, body] of [['GET', '/v1/topics'], kick, push] as const) {
        t.match(await asked(other, method, path, body), {
          status: 503, code: path === '/v1/downlinks' ? 'ledger-unavailable' : 'not-ready',
        }, `${method} ${path}`)
      }
      t.match(await asked(other, ...presence), { status: 200, text: /"online":true/ }, 'what Redis knows it says')
    })
    await until('it is ready again', async () => (await asked(other, 'GET', '/readyz')).status === 200)
  })
})

const presence = ['GET', '/v1/users/ann/presence'] as const
const kick = ['DELETE', '/v1/users/ann/connections'] as const
// A kick that comes late kicks all the same.
const lookups = [presence, ['DELETE', '/v1/users/carl/connections'], ['DELETE', '/v1/connections/c1'], ['GET', '/v1/lag']] as const
const to = { userIds: ['ann'] }
const signal = ['POST', '/v1/downlinks', { to, payload: 'hi', delivery: 'signal' }] as const
const push = ['POST', '/v1/downlinks', { to, payload: 'hi' }] as const

/** A server that is stopped answers nothing, and closes nothing either. */
async function frozen (t: Test, pid: number, work: () => Promise<void>): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => { process.kill(pid, 'SIGCONT') })
  await work()
  process.kill(pid, 'SIGCONT')
}

async function asked (node: TestNode, method: string, path: string, body?: unknown) {
  const { status, text, json } = await node.request(method, path, body)
  return { status, text, code: (json as { code?: string } | undefined)?.code }
}
