import t, { type Test } from 'tap'
import { findPort } from '../cluster/server-process.js'
import { auditOfDirectory } from './audit.js'
import { heartbeatMs, timeJumps, withoutNetwork } from './jolts.js'
import { noFilter } from './network.js'
import { request, startProcess } from './node-process.js'
import { SdkTraffic } from './sdk-traffic.js'
import { noFakeTime, TimeOfDay } from './time-of-day.js'

t.test('500 applications on the SDK, at the embedded gateway', { timeout: 600_000 }, async t => {
  const directory = t.testdir()
  const time = new TimeOfDay(directory, 'n1')
  const [http, tcp] = [`${await findPort()}`, `${await findPort()}`]
  const start = async () => await startProcess(t, `${directory}/data`, {
    LEDGERLINE_HTTP_PORT: http,
    LEDGERLINE_TCP_PORT: tcp,
    LEDGERLINE_HEARTBEAT_MS: `${heartbeatMs}`,
    ...time.env,
  })
  let node = await start()
  const traffic = await SdkTraffic.start(t, {
    ipConfig: `${node.http}/v1/ip-config`, directory: `${directory}/apps`, push: () => [node],
  })
  const judge = async (t: Test) => { await traffic.judge(t, { isExact: true }) }

  await t.test('go on after kill -9 of it', async t => {
    await node.kill('SIGKILL')
    node = await start()
    await traffic.heals(t)
    await judge(t)
  })

  await t.test('stay when an operator drains it, who is told that they have nowhere to go', async t => {
    const before = await traffic.interruptions()
    const { status, body } = await request(node, '/v1/nodes/n1/drain', { percent: 100, withinMs: 3_000 })
    t.match({ status, body }, { status: 400, body: { code: 'bad-request', message: /nowhere to go/ } })
    await traffic.heals(t)
    t.strictSame(await traffic.interruptions(), before)
  })

  await t.test('go on after 20 s without a network', { skip: noFilter() }, async t => {
    await withoutNetwork(t, traffic, [node.http, node.tcp])
    await judge(t)
  })

  await t.test('keep their connections when its time of day jumps', { skip: noFakeTime }, async t => {
    await timeJumps(t, traffic, ms => time.jump(ms))
    await judge(t)
  })

  await traffic.pause()
  await node.kill('SIGTERM')
  await auditOfDirectory(t, `${directory}/data`)
})
