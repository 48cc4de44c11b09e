import t from 'tap'
import { auditOfDirectory } from './audit.js'
import { BusyClient } from './busy-client.js'
import { startFlood } from './flood.js'
import { type NodeProcess, request, startProcess, tokenFor, until } from './node-process.js'

t.test('A node to which many send all they can', async t => {
  const directory = t.testdir()
  const node = await startProcess(t, directory, { LEDGERLINE_OVERLOAD_WAIT_MS: '1' })
  const important = new BusyClient({
    userId: 'important', deviceId: 'phone', transport: 'tcp', priority: 5, outstanding: 2, tolerated: new Set(['redirected']),
  })
  t.teardown(() => { important.stop() })
  t.ok(await important.open(node))
  const said = (msg: string) => node.lines.some(line => line['condition'] === 'overload' && line.msg === msg)
  const flood = await startFlood(t, Number(new URL(node.tcp).port), tokenFor)

  await t.test('refuses some of it, and says so', async t => {
    await until(() => said('trouble has begun'), 20)
    await until(async () => refusedOf((await request(node, '/metrics')).text) > 0, 100)
    t.pass('and counts it')
  })

  await t.test('reads who sends much in turns, so that what they send waits where nobody else waits for it', async t => {
    await until(async () => await heldOf(node) > 0, 20)
    t.pass('and says how many wait')
  })

  await t.test('takes what is more important', async t => {
    const before = important.acked.size
    await until(() => important.acked.size > before + 20)
    t.strictSame(important.complaints, [])
  })

  await t.test('tells the others of it', async t => {
    await until(async () => {
      const { body } = await request(node, '/v1/nodes')
      const { waitMsMax, ackP99Ms, cpuCores } = body.nodes[0].reported
      return waitMsMax === 1 && ackP99Ms > 0 && cpuCores > 0
    }, 100)
    t.pass('with its load')
  })

  await t.test('refuses nobody any more once they have stopped', async t => {
    flood.stop()
    await until(() => said('trouble has ended'), 20)
    t.match((await request(node, '/metrics')).text, /^ledgerline_admission_level 0$/m)
    await until(async () => await heldOf(node) === 0, 20)
    important.busy = false
    await until(() => important.unacked === 0)
    t.strictSame(important.complaints, [])
  })

  important.stop()
  await node.kill('SIGTERM')
  await auditOfDirectory(t, directory)
})

async function heldOf (node: NodeProcess): Promise<number> {
  const { text } = await request(node, '/metrics')
  return Number(/^ledgerline_overload_held_connections (\d+)/m.exec(text)![1])
}

function refusedOf (metrics: string): number {
  return Number(/^ledgerline_uplinks_refused_total\{code="overloaded"\} (\d+)/m.exec(metrics)?.[1] ?? 0)
}
