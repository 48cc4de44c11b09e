import t, { type Test } from 'tap'
import { errors } from '../../schemas/errors.js'
import { BusyClient } from './busy-client.js'
import { missing, TestCluster } from './cluster.js'
import { apiKey, fetchFrom, type NodeProcess, request, until } from './node-process.js'

/** What the store is needed for, and what a node answers while it is known to be away. */
type Route = readonly [method: string, path: string, code: string, body?: object]

const to = { userIds: ['ann'] }
const withoutRedis: readonly Route[] = [
  ['GET', '/v1/users/ann/presence', 'not-ready'],
  ['POST', '/v1/presence', 'not-ready', to],
  ['POST', '/v1/downlinks', 'not-ready', { to, payload: 'hi', delivery: 'signal' }],
  ['DELETE', '/v1/users/ann/connections', 'not-ready'],
  ['DELETE', '/v1/connections/c1', 'not-ready'],
  ['GET', '/v1/nodes/e1/drain', 'not-ready'],
]
const withoutKafka: readonly Route[] = [
  ['POST', '/v1/downlinks', 'ledger-unavailable', { to, payload: 'hi' }],
  ['POST', '/v1/downlinks', 'ledger-unavailable', { to, payload: 'hi', messageId: 'm1' }],
  ['DELETE', '/v1/users/ann/connections', 'not-ready'],
  ['GET', '/v1/topics', 'not-ready'],
  ['GET', '/v1/lag', 'not-ready'],
  ['GET', '/v1/users/ann/bans', 'not-ready'],
  ['POST', '/v1/bans', 'ledger-unavailable', { userId: 'zed', reason: 'spam' }],
  ['GET', '/v1/users/ann/state', 'not-ready'],
  ['GET', '/v1/users/ann/trace?connectionId=c1', 'not-ready'],
  ['GET', '/v1/uplinks', 'ledger-unavailable'],
  ['GET', '/v1/connections', 'ledger-unavailable'],
  ['GET', '/v1/log/ledger', 'ledger-unavailable'],
]

t.test('A cluster whose stores are away, and known to be', { skip: missing, timeout: 1_400_000 }, async t => {
  const cluster = await TestCluster.start(t)
  const { kafka, redis } = cluster
  const [broker] = kafka.pids as [number]
  const faults = [
    ['Redis frozen', 'redis-links', withoutRedis, () => freeze(t, redis.pid), () => thaw(redis.pid)],
    ['Redis gone', 'redis-links', withoutRedis, () => process.kill(redis.pid, 'SIGKILL'), () => redis.restart({ empty: true })],
    ['Kafka frozen', 'kafka', withoutKafka, () => freeze(t, broker), () => thaw(broker)],
    ['Kafka gone', 'kafka', withoutKafka, () => kafka.stopBroker(0, 'SIGKILL'), () => kafka.startBroker(0)],
  ] as const

  for (const [what, dependency, routes, begin, end] of faults) {
    await t.test(`says so with ${what}, and goes on by itself`, async t => {
      const [edge, push, ipConfig] = [cluster.node('e1'), cluster.node('u1'), cluster.node('p1')]
      const late = newcomer(t, `${what} late`)
      await begin()
      await Promise.all([edge, push].map(node => until(async () => await stateOf(node, dependency) > 0, 50)))
      await until(async () => await stateOf(push, dependency === 'kafka' ? 'kafka' : 'redis-tables') > 0, 50)

      for (const [method, path, code, body] of routes) {
        const { status, retryAfter, answer } = await asked(push, method, path, body)
        t.match({ status, code: answer.code }, { status: 503, code }, `${method} ${path}`)
        t.ok(retryAfter >= 1 && retryAfter <= 60, `${method} ${path} says to come back in ${retryAfter} s`)
      }
      t.match(await asked(ipConfig, 'GET', '/v1/ip-config?transport=tcp'), { status: 200, answer: { endpoints: [/^tcp:/] } })
      t.match(await asked(push, 'GET', '/v1/nodes'), { status: 200, answer: { asOf: { atMs: Number } } })
      await until(async () => (await asked(push, 'GET', '/readyz')).status === 503, 50)
      if (dependency === 'kafka') {
        t.equal((await asked(push, 'GET', '/v1/users/ann/presence')).status, 200, 'what Redis knows it says')
      }

      const refused = await countOf(edge, 'connections_closed_total{code="ledger-unavailable"}')
      await until(async () => {
        await late.open(edge)
        return await countOf(edge, 'connections_closed_total{code="ledger-unavailable"}') > refused
      }, 200)
      t.strictSame(late.complaints, [], 'who comes is told to wait')

      await end()
      await Promise.all([...cluster.nodes.values()].map(node => until(async () =>
        (await asked(node, 'GET', '/readyz')).status === 200 && await stateOf(node, dependency) === 0, 50)))
      await until(() => late.isOpen || late.open(edge), 200)
      await cluster.heals(t)
      t.equal((await asked(push, 'GET', '/v1/users/ann/presence')).status, 200)
      late.stop()
      await cluster.judge(t)
    })
  }

  await cluster.audit(t)
})

function newcomer (t: Test, userId: string): BusyClient {
  const tolerated = new Set(Object.entries(errors).filter(([, { retry }]) => retry).map(([code]) => code))
  const client = new BusyClient({ userId, deviceId: 'phone', transport: 'tcp', outstanding: 1, tolerated })
  client.busy = false
  t.teardown(() => { client.stop() })
  return client
}

function freeze (t: Test, pid: number): void {
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => { try { thaw(pid) } catch { /* it is gone */ } })
}

function thaw (pid: number): void { process.kill(pid, 'SIGCONT') }

async function asked (node: NodeProcess, method: string, path: string, body?: object) {
  const headers = { authorization: `Bearer ${apiKey}`, ...(body ? { 'content-type': 'application/json' } : {}) }
  const init = { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) }
  const response = await fetchFrom(node.http + path, init)
  const text = await response.text()
  const answer = text.startsWith('{') && !text.includes('\n') ? JSON.parse(text) : {}
  return { status: response.status, retryAfter: Number(response.headers.get('retry-after')), answer }
}

/** 0 closed, 1 half-open, 2 open. */
function stateOf (node: NodeProcess, dependency: string): Promise<number> {
  return countOf(node, `circuit_state{dependency="${dependency}"}`)
}

/** 0 for one that is not there yet. */
async function countOf (node: NodeProcess, metric: string): Promise<number> {
  const { text } = await request(node, '/metrics')
  const line = text.split('\n').find(line => line.startsWith(`ledgerline_${metric} `))
  return Number(line?.split(' ').at(-1) ?? 0)
}
