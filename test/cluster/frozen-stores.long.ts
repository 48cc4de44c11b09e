import t, { type Test } from 'tap'
import { alive, connected } from '../gateway/edge/dialects.js'
import { type TestNode, until } from '../gateway/node.js'
import { kafkaMissing } from './kafka.js'
import { everyRole, startCluster } from './nodes.js'
import { redisMissing } from './redis.js'

t.test('A cluster whose stores are frozen', { skip: kafkaMissing() ?? redisMissing() ?? false, timeout: 600_000 }, async t => {
  const cluster = await startCluster(t, `frozen-${process.pid}`)
  const { kafka, redis } = cluster
  const [edge, other] = await Promise.all([cluster.start('edge', 'edge'), cluster.start('other', everyRole)])

  await t.test('answers with 503, or from an old copy, while Redis is frozen', async t => {
    await frozen(t, redis.pid, async () => {
      for (const [method, path, body] of [...lookups, signal] as const) {
        t.match(await asked(other, method, path, body), { status: 503, code: 'not-ready' }, `${method} ${path}`)
      }
      t.match(await asked(other, 'GET', '/v1/lag'), { status: 200, text: /"unknown":"[^"]/ })
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

  for (const [store, pid] of [['Redis', redis.pid], ['Kafka', kafka.pids[0]!]] as const) {
    await t.test(`keeps its nodes and its connections while ${store} is frozen for longer than a lease`, async t => {
      const { client: bob } = await connected(t, edge, 'TCP', `bob-${store}`)
      const before = await cluster.facts(['NodeLost', 'ConnectionClosed'])
      const lines = [edge, other].map(({ logged }) => logged.length)
      await frozen(t, pid, async () => {
        for (let i = 0; i < 50; i++) { // work that can not be done just now
          asked(other, 'POST', '/v1/downlinks', { to, payload: `${i}` }).catch(() => {})
          await new Promise(resolve => setTimeout(resolve, 120))
        }
      })
      await until('all are ready again', async () =>
        (await Promise.all([edge, other].map(node => asked(node, 'GET', '/readyz')))).every(({ status }) => status === 200))
      await new Promise(resolve => setTimeout(resolve, 3_500)) // for every lease to run out twice
      t.strictSame(await cluster.facts(['NodeLost', 'ConnectionClosed']), before)
      await alive(t, bob)
      for (const [i, { logged, nodeId }] of [edge, other].entries()) {
        const told = logged.slice(lines[i])
        t.ok(told.length > 0 && told.length < 40, `${nodeId} says why in ${told.length} lines`)
        const wanted = /^trouble has (begun|ended)$|^group has lost this member$/
        t.ok(told.every(({ msg }) => wanted.test(msg)), told.map(({ msg }) => msg).join('; '))
      }
    })
  }
})

const presence = ['GET', '/v1/users/ann/presence'] as const
const kick = ['DELETE', '/v1/users/ann/connections'] as const
// A kick that comes late kicks all the same.
const lookups = [presence, ['DELETE', '/v1/users/carl/connections'], ['DELETE', '/v1/connections/c1']] as const
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
