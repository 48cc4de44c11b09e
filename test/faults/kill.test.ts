import t from 'tap'
import type { Test } from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { ledger } from '../../schemas/streams.js'
import { auditOfDirectory } from './audit.js'
import { randomFrom, startProcess, until } from './node-process.js'
import { checkAll, onlineUsers, Traffic } from './traffic.js'

const seed = Number(process.env['LEDGERLINE_TEST_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
t.comment(`LEDGERLINE_TEST_SEED=${seed} repeats the moments of the kills`)

t.test('After kill -9 in the middle of 20 busy clients, ten times', async t => {
  const directory = t.testdir()
  const random = randomFrom(seed)
  let node = await startProcess(t, directory)
  const traffic = new Traffic(t, random)
  traffic.goTo([node])
  const openAtKill: string[] = []
  for (let kill = 1; kill <= 10; kill++) {
    const enough = traffic.acked + 100 + Math.trunc(2_000 * random())
    await until(() => traffic.acked >= enough && traffic.clients.every(({ isOpen }) => isOpen))
    await new Promise(resolve => setTimeout(resolve, 20 * random()))
    for (const { connected } of traffic.clients) if (connected) openAtKill.push(connected.connectionId)
    traffic.goTo([])
    await node.kill('SIGKILL')
    node = await startProcess(t, directory)
    t.strictSame(await onlineUsers(node), [], `nobody is online after kill ${kill} until he comes back`)
    traffic.goTo([node])
  }
  await traffic.pause()
  const queued = [...traffic.queued.values()].reduce((sum, { size }) => sum + size, 0)
  t.comment(`${traffic.acked} uplinks acked, ${queued} downlinks queued`)
  await checkAll(t, node, traffic)

  await traffic.leave()
  await until(async () => (await onlineUsers(node)).length === 0)
  t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
  await auditOfDirectory(t, directory)
  await checkHistory(t, directory, openAtKill)
})

t.test('After SIGTERM in the middle of 20 busy clients, three times', async t => {
  const directory = t.testdir()
  const random = randomFrom(seed + 1)
  let node = await startProcess(t, directory)
  const traffic = new Traffic(t, random)
  traffic.goTo([node])
  for (let stop = 1; stop <= 3; stop++) {
    const enough = traffic.acked + 100 + Math.trunc(2_000 * random())
    await until(() => traffic.acked >= enough && traffic.clients.every(({ isOpen }) => isOpen))
    traffic.goTo([])
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null }, `stop ${stop} ends as asked`)
    t.strictSame(node.lines.filter(({ level }) => level >= 50), [], 'and logs no error')
    node = await startProcess(t, directory)
    traffic.goTo([node])
  }
  await traffic.pause()
  await checkAll(t, node, traffic)
  t.ok(traffic.clients.every(({ connections }) => connections === 4), 'each client connected once to each node')
  traffic.goTo([])
  await node.kill('SIGTERM')
  await auditOfDirectory(t, directory)
})

/** What the ledger says about connections, read from the data directory that the node has left. */
async function checkHistory (t: Test, directory: string, openAtKill: readonly string[]): Promise<void> {
  const store = await openStore({ directory, neighbours: ['jwt-secret', 'api-key'] })
  t.teardown(() => store.close())
  const log = embeddedLog(store)
  const opened = new Set<string>()
  const codes = new Map<string, string[]>()
  for (let partition = 0; partition < log.partitions(ledger); partition++) {
    for await (const { items } of log.read(ledger, partition, { from: 0n })) {
      for (const { fact } of items) {
        if (fact.type === 'ConnectionOpened') opened.add(fact.connectionId)
        if (fact.type !== 'ConnectionClosed') continue
        t.ok(opened.has(fact.connectionId), 'a connection that ended was open')
        codes.set(fact.connectionId, [...codes.get(fact.connectionId) ?? [], fact.code])
      }
    }
  }
  t.strictSame([...opened].filter(connectionId => codes.get(connectionId)?.length !== 1), [], 'each has ended, once')
  const otherwise = openAtKill.filter(connectionId => codes.get(connectionId)?.[0] !== 'node-lost')
  t.strictSame(otherwise, [], 'those that were open at a kill ended with node-lost')
}
