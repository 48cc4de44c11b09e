/*
  Builds a ledger of so many entries and ten times as many in temporary directories, rebuilds table `presence` and the
  snapshots from each as a node does, and prints one JSON line for each: entries a second, and the memory that it took.

    node bench/rebuild.js [ENTRIES]
*/
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { closed, opened } from '../dist/test/facts.js'
import { memoryOf } from './measure/memory.js'

const partitions = 8
const users = 20_000
const entriesPerBlock = 200
/** Of a connection: what lies between its opening and its closing. */
const uplinksPerConnection = 50

const [entries = '400000', step, directory] = process.argv.slice(2)
if (step === undefined) {
  for (const count of [Number(entries), 10 * Number(entries)]) inProcesses(count)
} else if (step === 'fill') {
  await fill(await openProduct(), directory, Number(entries))
} else {
  await run(await openProduct(), directory)
}

/** Each step in a process of its own: the memory of one says nothing of the other's. */
function inProcesses (count) {
  const scratch = mkdtempSync(join(tmpdir(), 'ledgerline-rebuild-'))
  try {
    const script = fileURLToPath(import.meta.url)
    for (const step of ['fill', 'rebuild']) {
      const { status } = spawnSync(process.execPath, [script, `${count}`, step, scratch], { stdio: 'inherit' })
      if (status !== 0) process.exitCode = 1
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function run (product, directory) {
  const { openStore, embeddedLog, embeddedTables, embeddedSnapshots, rebuild, rebuildSnapshots, ledger } = product
  const store = await openStore({ directory })
  const log = embeddedLog(store)
  const signal = new AbortController().signal
  const snapshots = embeddedSnapshots(store)
  for (let partition = 0; partition < partitions; partition++) {
    await snapshots.save(partition, (await log.bounds(ledger, partition)).next, new Map())
  }
  const tables = embeddedTables(store)
  // Nobody keeps the live table here: it is brought to where a runner would have it, and is found to be empty.
  for (let partition = 0; partition < partitions; partition++) {
    await tables.apply('presence', partition, [], { next: (await log.bounds(ledger, partition)).next, atMs: 0 })
  }
  await measure('presence', onRead => rebuild({ table: 'presence', log, tables, signal, onRead, onCaughtUp () {} }))
  await measure('snapshots', onRead => rebuildSnapshots({ log, snapshots, signal, onRead, onPlanned () {} }))
  await log.close()
  await store.close()
}

/** Prints what reading and folding took; the comparison goes by rows, not by entries. */
async function measure (table, work) {
  let read = 0
  let mostBytes = 0
  let readMs = 0
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  await work(({ entries }) => {
    read += entries
    readMs = performance.now() - startMs
    if (read % 10_000 < entriesPerBlock) mostBytes = Math.max(mostBytes, memoryOf(process.pid).anonBytes)
  })
  const { user, system } = process.cpuUsage(cpu)
  console.log(JSON.stringify({
    table,
    entries: read,
    perSecond: Math.round(read / (readMs / 1000)),
    seconds: Number(((performance.now() - startMs) / 1000).toFixed(2)),
    perCpuSecond: Math.round(read / ((user + system) / 1e6)),
    cpuSeconds: Number(((user + system) / 1e6).toFixed(2)),
    rssMb: Math.round(mostBytes / 2 ** 20), // without the mapped file, which the kernel takes back at will
  }))
}

/** The only place that knows the product's modules. */
async function openProduct () {
  const dist = process.env.LEDGERLINE_DIST ?? '../dist'
  const modules = await Promise.all([
    'ledger/embedded/store.js', 'ledger/embedded/log.js', 'projections/tables/embedded.js', 'projections/rebuild.js',
    'actors/snapshots-embedded.js', 'actors/snapshots-rebuild.js', 'schemas/streams.js', 'schemas/partitioning.js',
  ].map(path => import(`${dist}/${path}`)))
  return Object.assign({}, ...modules)
}

/** Connections that open, send uplinks and close, block by block. */
async function fill ({ openStore, embeddedLog, ledger, partitionOf }, directory, count) {
  const store = await openStore({ directory })
  const log = embeddedLog(store, { partitions })
  const blocks = Array.from({ length: partitions }, () => [])
  const appends = []
  let n = 0
  for (let round = 0; n < count; round++) {
    for (let user = 0; user < users && n < count; user++) {
      const userId = `user-${user}`
      const partition = partitionOf(userId, partitions)
      const of = [...story(userId, `c${round}-${user}`, round * uplinksPerConnection)]
      blocks[partition].push(...of)
      n += of.length
      if (blocks[partition].length < entriesPerBlock) continue
      appends.push(log.append(ledger, partition, blocks[partition].splice(0)))
      if (appends.length >= 64) await Promise.all(appends.splice(0))
    }
  }
  await Promise.all(appends)
  await log.close()
  await store.close()
}

function * story (userId, connectionId, seq) {
  const atMs = 1_700_000_000_000
  const deviceId = 'phone'
  const session = { deviceId, platform: 'ios', sessionId: 's1' }
  yield { userId, atMs, fact: opened(connectionId, session) }
  for (let i = 1; i <= uplinksPerConnection; i++) {
    const payload = Buffer.from('the payload of an uplink')
    yield {
      userId,
      atMs,
      fact: { type: 'UplinkReceived', connectionId, ...session, seq: seq + i, service: '', priority: 0, roomId: '', payload },
    }
  }
  yield { userId, atMs, fact: closed(connectionId, { uplinks: uplinksPerConnection }) }
}
