import { setTimeout as sleep } from 'node:timers/promises'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openStoredLog } from '../../ledger/embedded/reader.js'
import { presence } from '../../schemas/streams.js'
import { auditOfDirectory } from './audit.js'
import { BusyClient } from './busy-client.js'
import { request, startProcess, until } from './node-process.js'

const clientsCount = Number(process.env['FLAP_CLIENTS'] ?? 1_000)
const flapMs = Number(process.env['FLAP_SECONDS'] ?? 60) * 1_000
const everyMs = 200

/** SIGUSR2 collects garbage, and says how much of the heap is in use after it, in bytes. */
const collects = 'const{writeFileSync}=process.getBuiltinModule("node:fs");' +
  'process.on("SIGUSR2",()=>{gc();writeFileSync(process.env.HEAP_FILE,String(process.memoryUsage().heapUsed))})'

t.test(`${clientsCount} clients that come and go every ${everyMs} ms`, { timeout: 600_000 }, async t => {
  const directory = t.testdir()
  const heapFile = join(directory, 'heap-used')
  const node = await startProcess(t, directory, {
    LEDGERLINE_ACCEPT_RATE: '0',
    HEAP_FILE: heapFile,
    NODE_OPTIONS: `--expose-gc --import=data:text/javascript,${encodeURIComponent(collects)}`,
  })
  const clients = Array.from({ length: clientsCount }, (_, i) =>
    new BusyClient({ userId: `user${i}`, deviceId: 'phone', transport: 'tcp', outstanding: 1, everyMs: 1_000 }))
  t.teardown(() => { for (const client of clients) client.stop() })
  for (const client of clients) client.busy = false
  const usedMiB = async () => {
    rmSync(heapFile, { force: true })
    process.kill(node.pid, 'SIGUSR2')
    await until(() => existsSync(heapFile))
    await sleep(500)
    return Number(readFileSync(heapFile, 'utf8')) / 2 ** 20
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
  await sleep(flapMs / 2)
  const early = await usedMiB()
  await sleep(flapMs / 2 - 3_000)
  const late = await usedMiB()
  await flapping
  const rate = Math.round(opened / flapMs * 1_000)
  t.comment(`${opened} openings, ${rate} a second; ${Math.round(early)} and ${Math.round(late)} MiB of heap in use`)
  t.ok(opened > clientsCount)
  t.ok(late < 1.25 * early + 25, 'memory does not go with how often they came')
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
