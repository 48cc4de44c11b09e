/*
  Five partitions of the ledger that always have more waiting than a commit takes, and appends of ten bytes, one after
  the other, to a sixth one and to `uplinks`: how many commits ended until each was durable, that with it included.
  Prints one JSON line.

    node fair-log.js BUILD DATA_DIRECTORY WINDOW_MS
*/
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { quantile } from '../load/quantile.js'

const busyPartitions = 5
const partitions = 8
/** Together 6 MB a partition, so 30 MB of the 64 that may wait; one commit takes 4. */
const appendsAhead = 12
const entriesOfAppend = 64
const payload = Buffer.alloc(8_000, 'ledgerline ')
const small = Buffer.alloc(10, 'x')
const restMs = 5

const [build, directory, windowMs] = process.argv.slice(2)
try {
  console.log(JSON.stringify(await measure(await openProduct())))
} catch (err) {
  console.error(err.stack)
  process.exitCode = 1
}

/** The only place that knows the product's modules. */
async function openProduct () {
  const load = file => import(pathToFileURL(join(build, file)).href)
  const [{ openStore }, { embeddedLog }, { ledger, uplinks }] = await Promise.all([
    load('ledger/embedded/store.js'), load('ledger/embedded/log.js'), load('schemas/streams.js'),
  ])
  const store = await openStore({ directory })
  return { store, log: embeddedLog(store, { partitions }), ledger, uplinks }
}

async function measure ({ store, log, ledger, uplinks }) {
  const state = { stopping: false }
  const busy = Array.from({ length: busyPartitions * appendsAhead }, async (_, i) => {
    const partition = i % busyPartitions
    while (!state.stopping) await log.append(ledger, partition, entries(entriesOfAppend, payload))
  })
  await wait(1_000)
  const before = store.metrics.commits
  const startMs = performance.now()
  const of = append => quiet(store, append, state)
  const sixth = of(() => log.append(ledger, busyPartitions, entries(1, small)))
  const derived = of(() => log.append(uplinks, busyPartitions + 1, [uplink(small)]))
  await wait(Number(windowMs))
  state.stopping = true
  const commitsPerSecond = (store.metrics.commits - before) / ((performance.now() - startMs) / 1000)
  const rows = { sixth: { ...await sixth, commitsPerSecond }, uplinks: { ...await derived, commitsPerSecond } }
  await Promise.all(busy)
  await log.close()
  await store.close()
  return rows
}

/** One append after the other, with a rest in between, so that they come at all times of a commit. */
async function quiet ({ metrics }, append, state) {
  const commits = []
  const ms = []
  while (!state.stopping) {
    const before = metrics.commits
    const startMs = performance.now()
    await append()
    commits.push(metrics.commits - before)
    ms.push(performance.now() - startMs)
    await wait(Math.random() * restMs)
  }
  commits.sort((a, b) => a - b)
  ms.sort((a, b) => a - b)
  return {
    commitsP99: quantile(commits, 0.99),
    commitsMax: commits.at(-1),
    p99Ms: quantile(ms, 0.99),
    maxMs: ms.at(-1),
    appends: ms.length,
  }
}

function entries (count, payload) {
  const atMs = Date.now()
  const fact = { type: 'UplinkReceived', connectionId: 'AAAAAAAAAAAAAAAA', seq: 1, service: '', payload, priority: 0, roomId: '' }
  return Array.from({ length: count }, () => ({ userId: 'user', atMs, fact }))
}

function uplink (payload) {
  return {
    userId: 'user',
    userSeq: 1,
    deviceId: 'phone',
    platform: 'bench',
    sessionId: 's1',
    seq: 1,
    connectionId: 'AAAAAAAAAAAAAAAA',
    service: '',
    payload,
    priority: 0,
    roomId: '',
    receivedAtMs: Date.now(),
  }
}
