import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { findPort } from '../cluster/server-process.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { redisMissing, startRedis } from '../cluster/redis.js'
import { auditOfTopics } from './audit.js'
import { heartbeatMs, leaseMs, timeJumps, withoutNetwork } from './jolts.js'
import { noFilter } from './network.js'
import { type NodeProcess, request, startProcess, until } from './node-process.js'
import { SdkTraffic } from './sdk-traffic.js'
import { noFakeTime, TimeOfDay } from './time-of-day.js'

const missing = kafkaMissing() ?? redisMissing() ?? false

const layout = { e1: 'edge', e2: 'edge', u1: 'users,push', u2: 'users,push', p1: 'projections,ip-config' }
type Name = keyof typeof layout

t.test('500 applications on the SDK, at a cluster', { skip: missing, timeout: 600_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const directory = t.testdir()
  const topicPrefix = `moves-${process.pid}`
  const nodes = new Map<Name, NodeProcess>()
  const times = new Map((Object.keys(layout) as Name[]).map(name => [name, new TimeOfDay(directory, name)]))
  // Nodes come back where they were, as the last good list has it.
  const ports = new Map<Name, readonly string[]>()
  for (const name of Object.keys(layout) as Name[]) ports.set(name, [`${await findPort()}`, `${await findPort()}`])
  const start = async (...names: Name[]) => {
    await Promise.all(names.map(async name => {
      const [http, tcp] = ports.get(name)!
      nodes.set(name, await startProcess(t, directory, {
        KAFKA_BROKERS: kafka.brokers.join(),
        REDIS_URL: redis.url,
        LEDGERLINE_TOPIC_PREFIX: topicPrefix,
        LEDGERLINE_NODE_ID: name,
        LEDGERLINE_ROLES: layout[name],
        LEDGERLINE_HTTP_PORT: http!,
        LEDGERLINE_TCP_PORT: tcp!,
        LEDGERLINE_LEASE_MS: `${leaseMs}`,
        LEDGERLINE_HEARTBEAT_MS: `${heartbeatMs}`,
        ...times.get(name)!.env,
      }))
    }))
  }
  const stop = async (name: Name, signal: NodeJS.Signals) => {
    const node = nodes.get(name)!
    nodes.delete(name)
    return await node.kill(signal)
  }
  const { http: ipConfigUrl } = await start(...Object.keys(layout) as Name[]).then(() => nodes.get('p1')!)
  const bothEdges = async () => {
    const ask = async () => await request({ http: ipConfigUrl }, '/v1/ip-config?transport=tcp')
    await until(async () => (await ask()).body.endpoints?.length === 2, 50)
  }
  await bothEdges()
  const traffic = await SdkTraffic.start(t, {
    ipConfig: `${ipConfigUrl}/v1/ip-config`,
    directory: `${directory}/apps`,
    push: () => (['u1', 'u2'] as const).flatMap(name => nodes.get(name) ?? []),
  })
  const judge = async (t: Test) => { await traffic.judge(t, { isExact: false }) }

  await t.test('go on after kill -9 of an edge', async t => {
    await stop('e1', 'SIGKILL')
    await traffic.heals(t)
    await judge(t)
    await start('e1')
    await bothEdges()
  })

  await t.test('move when an edge is drained, and see no end of a connection', async t => {
    const before = await traffic.interruptions()
    const plan = { percent: 100, withinMs: 30_000 }
    const { status, body } = await request(nodes.get('u1')!, '/v1/nodes/e2/drain', plan)
    t.equal(status, 202, JSON.stringify(body))
    const report = await drained(nodes.get('u1')!, 'e2', body.drainId)
    const { total, left, closed, resumed, uplinksLost, downlinksLost } = report
    t.strictSame({ left, closed, resumed, uplinksLost, downlinksLost },
      { left: total, closed: 0, resumed: total, uplinksLost: 0, downlinksLost: 0 }, `${total} left, and lost nothing`)
    const after = await traffic.interruptions()
    t.strictSame(after, { disconnected: before.disconnected, migrated: before.migrated + total })
    await request(nodes.get('u1')!, '/v1/nodes/e2/drain', { percent: 0 })
    await bothEdges()
    await judge(t)
  })

  await t.test('keep their connections while the users nodes restart, one after the other', async t => {
    const before = await traffic.interruptions()
    for (const name of ['u1', 'u2'] as const) {
      t.strictSame(await stop(name, 'SIGTERM'), { code: 0, signal: null })
      await start(name)
      await traffic.heals(t)
    }
    t.strictSame(await traffic.interruptions(), before)
    await judge(t)
  })

  await t.test('go on after kill -9 of an edge while ip-config answers nobody', async t => {
    const { pid } = nodes.get('p1')!
    process.kill(pid, 'SIGSTOP')
    t.teardown(() => process.kill(pid, 'SIGCONT'))
    const atLeast = sleep(20_000)
    await stop('e1', 'SIGKILL')
    await traffic.heals(t)
    await atLeast
    process.kill(pid, 'SIGCONT')
    await start('e1')
    await bothEdges()
    await judge(t)
  })

  await t.test('go on after 20 s without a network', { skip: noFilter() }, async t => {
    const edges = [nodes.get('e1')!, nodes.get('e2')!]
    await withoutNetwork(t, traffic, [ipConfigUrl, ...edges.flatMap(({ http, tcp }) => [http, tcp])])
    await judge(t)
  })

  await t.test('keep their connections when their time of day jumps', async t => {
    await timeJumps(t, traffic, async ms => await traffic.jump(ms))
    await judge(t)
  })

  await t.test('keep their connections when the time of day of their nodes jumps', { skip: noFakeTime }, async t => {
    // Not that of u1: what a push node dates back by more than a minute is history to a users node of another time of
    // day, and goes out when its connection asks for something the next time.
    await timeJumps(t, traffic, ms => { for (const name of ['e2', 'p1'] as const) times.get(name)!.jump(ms) })
    await judge(t)
  })

  await traffic.pause()
  await auditOfTopics(t, kafka.brokers, topicPrefix)
})

/** The report of a drain, once it is over. */
async function drained (node: NodeProcess, nodeId: string, drainId: string): Promise<any> {
  let report: any
  await until(async () => {
    report = (await request(node, `/v1/nodes/${nodeId}/drain`)).body
    return report.drainId === drainId && report.state === 'done'
  }, 200)
  return report
}
