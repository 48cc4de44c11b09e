import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openStoredLog } from '../../ledger/embedded/reader.js'
import { presence } from '../../schemas/streams.js'
import { auditOfDirectory } from './audit.js'
import { BusyClient } from './busy-client.js'
import { request, startProcess, until } from './node-process.js'

const clientsCount = Number(process.env['FLAP_CLIENTS'] ?? 1_000)
const flapMs = Number(process.env['FLAP_SECONDS'] ?? 60) * 1_000
const everyMs = 200

t.test(`${clientsCount} clients that come and go every ${everyMs} ms`, { timeout: 600_000 }, async t => {
  const directory = t.testdir()
  const node = await startProcess(t, directory, { LEDGERLINE_ACCEPT_RATE: '0' })
  const clients = Array.from({ length: clientsCount }, (_, i) =>
    new BusyClient({ userId: `user${i}`, deviceId: 'phone', transport: 'tcp', outstanding: 1, everyMs: 1_000 }))
  t.teardown(() => { for (const client of clients) client.stop() })
  for (const client of clients) client.busy = false
  const rssOf = async () => {
    const { text } = await request(node, '/metrics')
    return Number(/^(?:\w+_)?process_resident_memory_bytes (\S+)$/m.exec(text)![1]) / 2 ** 20
  }
  const untilMs = Date.now() + flapMs
  let opened = 0
  const flap = async (client: BusyClient) => {
    await sleep(everyMs * Math.random())
    while (Date.now() < untilMs) {
      if (await client.open(node)) opened++
      await sleep(everyMs / 2)
      client.vanish()
      await until(() => !client.isOpen)
      await sleep(everyMs / 2)
    }
  }
  const flapping = Promise.all(clients.map(flap))
  await sleep(flapMs / 3)
  const early = await rssOf()
  await flapping
  const late = await rssOf()
  const rate = Math.round(opened / flapMs * 1_000)
  t.comment(`${opened} openings, ${rate} a second; rss ${Math.round(early)} and ${Math.round(late)} MiB`)
  t.ok(opened > clientsCount)
  t.ok(late < 1.5 * early + 50, 'memory does not go with how often they came')
  await until(async () => (await request(node, '/v1/lag')).body.followers.every(({ ms }: { ms: number }) => ms === 0), 500)
  t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
  await auditOfDirectory(t, directory)

  const log = await openStoredLog(directory)
  t.teardown(() => log.close())
  const changes = new Map<string, string>()
  let records = 0
  for (let partition = 0; partition < log.partitions(presence); partition++) {
    for await (const { items } of log.read(presence, partition, { from: 0n })) {
      for (const { userId, change, userChanged } of items) {
        records++
        if (!userChanged || changes.get(userId) === change) t.fail(`${userId} is ${change} twice`)
        changes.set(userId, change)
      }
    }
  }
  t.equal(records, 2 * opened, 'each coming and going is told, in turn')
  t.strictSame(new Set(changes.values()), new Set(['offline']))
})
