import t from 'tap'
import { kafkaMissing } from '../cluster/kafka.js'
import { redisMissing } from '../cluster/redis.js'
import { BusyClient } from './busy-client.js'
import { Deployment } from './deployment.js'
import { request, until } from './node-process.js'

const missing = kafkaMissing() ?? redisMissing() ?? false

t.test('200 clients with traffic both ways', { skip: missing, timeout: 850_000 }, async t => {
  const world = await Deployment.start(t)

  await t.test('move to the other edge when an operator drains theirs, and lose nothing', async t => {
    world.clients.forEach(client => { client.moves = client.cuts = 0 })
    const { body, status } = await request(world.node('q2'), '/v1/nodes/e1/drain', { percent: 100, withinMs: 24_000 })
    t.equal(status, 202, 'any node takes the request')
    const report = await world.drained(t, 'e1', body.drainId)
    t.strictSame(report.moves.filter(({ toNodeId }: any) => toNodeId !== 'e2'), [], 'each was seen again on the other edge')
    t.equal(report.total, 100)
    t.equal(report.closed, 0, 'nobody was closed by the node')
    t.equal(world.cuts, 0, 'no application was without a connection')
    t.strictSame(await world.endpoints(), [world.node('e2').tcp], 'ip-config does not name it any more')
    await world.judge(t)
  })

  await t.test('are sent elsewhere by a drained edge, until the drain is ended', async t => {
    const client = new BusyClient({ userId: 'late', deviceId: 'd', transport: 'tcp', outstanding: 1 })
    t.teardown(() => { client.stop() })
    t.equal(await client.open(world.node('e1')), false)
    t.match(client.complaints.map(text => JSON.parse(text)),
      [{ op: 'redirect', code: 'redirected', endpoints: [world.node('e2').tcp] }])
    await request(world.node('p1'), '/v1/nodes/e1/drain', { percent: 0 })
    await until(async () => (await world.endpoints()).length === 2, 50)
    t.equal(await client.open(world.node('e1')), true)
  })

  await t.test('move in part when a hot edge is drained of half', async t => {
    const { body } = await request(world.node('p1'), '/v1/nodes/e2/drain', { percent: 50, withinMs: 16_000 })
    const report = await world.drained(t, 'e2', body.drainId)
    t.equal(report.total, 100)
    const stateOfE2 = async () => {
      const { body: { nodes } } = await request(world.node('q1'), '/v1/nodes')
      return nodes.find(({ nodeId }: any) => nodeId === 'e2').state
    }
    // The report is read from the log, and q1's copy of the table may be a second older.
    await until(async () => await stateOfE2() === 'up', 100)
    t.equal(world.cuts, 0)
    await world.judge(t)
  })

  await t.test('move when their edge is asked to stop, which exits with 0', async t => {
    t.strictSame(await world.stop('e2'), { code: 0, signal: null })
    const { body: report } = await request(world.node('p1'), '/v1/nodes/e2/drain')
    t.match(report, { state: 'done', total: 100, left: 100, closed: 0, resumed: 100, uplinksLost: 0, downlinksLost: 0 },
      'the report outlives the node')
    t.equal(report.moves.length, 100)
    const told = world.linesOf('e2').filter(({ msg }) => msg === 'drained')
    t.match(told.at(-1), { left: 100, uplinksLost: 0, downlinksLost: 0 })
    t.equal(world.cuts, 0)
    await world.judge(t)
    await world.startNodes('e2')
  })

  await t.test('keep their sockets while users and push nodes restart, and no request fails', async t => {
    const before = world.clients.map(({ connections }) => connections)
    for (const name of ['u1', 'q1', 'u2', 'q2']) {
      t.strictSame(await world.stop(name), { code: 0, signal: null }, `${name} stops as asked`)
      await world.startNodes(name)
      await world.flows()
    }
    t.strictSame(world.clients.map(({ connections }) => connections), before, 'no client connected anew')
    t.equal(world.cuts, 0, 'no socket was closed')
    await world.judge(t)
  })
})
