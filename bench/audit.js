/*
  How fast `ledgerline audit` goes through a data directory, and what memory that takes: with so many entries, with ten
  times as many, and with ten times as many users. Prints one JSON line for each, from a process of its own.

    node audit.js [--dist ../dist] [--entries 500000] [--users 20000] [--directory DIR]

  A directory is made by real appends to the embedded log: users come, send (two thirds of all entries), are sent to,
  ack and go; `uplinks` has what the fold accepts, `connections` what has ended. It is deleted unless it is named.
*/

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { closed, opened, requested } from '../dist/test/facts.js'
import { memoryOf } from './measure/memory.js'

const { values } = parseArgs({
  options: {
    dist: { type: 'string', default: fileURLToPath(new URL('../dist', import.meta.url)) },
    entries: { type: 'string', default: '500000' },
    users: { type: 'string', default: '20000' },
    directory: { type: 'string' },
    step: { type: 'string', default: 'all' },
  },
})
const entries = Number(values.entries)
const users = Number(values.users)

const partitions = 8
const blockEntries = 100
const sessionUplinks = 12
const sessionDownlinks = 2

/** Each step is a process of its own: the memory of one is not that of another. */
async function all () {
  const parent = values.directory ?? mkdtempSync(join(tmpdir(), 'ledgerline-audit-'))
  try {
    for (const [name, entryTimes, userTimes] of [['1x', 1, 1], ['10x entries', 10, 1], ['10x both', 10, 10]]) {
      const directory = join(parent, name.replace(' ', '-'))
      const size = { entries: entries * entryTimes, users: users * userTimes }
      if (!existsSync(directory)) run('build', directory, size)
      const figures = ['audit', 'memory'].map(step => JSON.parse(run(step, directory, size)))
      console.log(JSON.stringify(Object.assign({ name }, ...figures)))
    }
  } finally {
    if (!values.directory) rmSync(parent, { recursive: true, force: true })
  }
}

function run (step, directory, size) {
  const args = ['--step', step, '--dist', values.dist, '--directory', directory,
    '--entries', size.entries, '--users', size.users].map(String)
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), ...args])
  if (status !== 0) throw new Error(`${step}: ${stderr}`)
  return String(stdout)
}

/** The only place that knows the product's modules. */
async function product () {
  const load = path => import(join(resolve(values.dist), path))
  const modules = await Promise.all([
    load('ledger/embedded/store.js'), load('ledger/embedded/log.js'), load('ledger/embedded/reader.js'),
    load('schemas/streams.js'), load('schemas/partitioning.js'), load('actors/user/fold.js'),
    load('actors/user/state.js'), load('evidence/audit.js'),
  ])
  return Object.assign({}, ...modules)
}

async function build () {
  const { openStore, embeddedLog, ...deps } = await product()
  const store = await openStore({ directory: values.directory })
  const log = embeddedLog(store, { partitions })
  await log.append(deps.nodes, deps.partitionOf('n1', partitions), [
    { nodeId: 'n1', epoch: 1, atMs: Date.now(), fact: { type: 'NodeStarted', region: '', roles: '', version: '', wsUrl: '', tcpUrl: '', connectionsMax: 1, leaseMs: 1 } },
  ])
  const writers = Array.from({ length: partitions }, (_, partition) => new Writer(log, partition, deps))
  for (const entry of conversations(Date.now() - 3_600_000)) {
    await writers[deps.partitionOf(entry.userId, partitions)].add(entry)
  }
  for (const writer of writers) await writer.flush()
  await log.close()
  await store.close()
}

/** Sessions run side by side, so that a block has entries of many users. */
function * conversations (atMs) {
  const running = []
  let left = entries
  let begun = 0
  do {
    if (running.length < 200 && left > 0) running.push(session(`user${begun % users}`, begun++, atMs))
    const at = Math.trunc(Math.random() * running.length)
    const { value, done } = running[at].next()
    left--
    if (done) running.splice(at, 1)
    else yield value
  } while (running.length > 0)
}

/** One partition: its ledger, and what is derived of it. */
class Writer {
  #block = []
  #states = new Map()
  #openings = new Map()

  constructor (log, partition, deps) {
    Object.assign(this, { log, partition, deps })
  }

  async add (entry) {
    this.#block.push(entry)
    if (this.#block.length >= blockEntries) await this.flush()
  }

  async flush () {
    const { log, partition, deps: { ledger, uplinks, connections, fold, newUser } } = this
    const items = this.#block
    if (items.length === 0) return
    this.#block = []
    const accepted = []
    const ended = []
    for (const entry of items) {
      const { userId, fact, atMs } = entry
      if (!this.#states.has(userId)) this.#states.set(userId, newUser())
      for (const effect of fold(this.#states.get(userId), entry)) {
        if (effect.type === 'publishUplink') accepted.push(effect.uplink)
      }
      if (fact.type === 'ConnectionOpened') this.#openings.set(fact.connectionId, { ...fact, userId, openedAtMs: atMs })
      if (fact.type !== 'ConnectionClosed') continue
      ended.push({ ...this.#openings.get(fact.connectionId), ...fact, closedAtMs: atMs, resumedFrom: '', resumedTo: '' })
      this.#openings.delete(fact.connectionId)
    }
    const { offset: derivedFrom } = await log.append(ledger, partition, items)
    await Promise.all([
      accepted.length > 0 && log.append(uplinks, partition, accepted, { derivedFrom }),
      ended.length > 0 && log.append(connections, partition, ended, { derivedFrom }),
    ])
  }
}

const sent = new Map()

function * session (userId, i, atMs) {
  const connectionId = `c${String(i).padStart(15, '0')}`
  const at = fact => ({ userId, atMs: atMs + i, fact })
  const before = sent.get(userId) ?? 0
  sent.set(userId, before + sessionDownlinks)
  yield at(opened(connectionId, { sessionId: connectionId, uplinkWindow: 256 }))
  for (let seq = 1; seq <= sessionUplinks; seq++) {
    yield at({ type: 'UplinkReceived', connectionId, seq, service: '', payload: Buffer.alloc(100, seq), priority: 0, roomId: '' })
  }
  for (let n = 1; n <= sessionDownlinks; n++) {
    yield at(requested(`m${i}.${n}`, { payload: Buffer.alloc(100, n), ttlMs: 86_400_000 }))
  }
  const writtenSeq = before + sessionDownlinks
  yield at({ type: 'DeliveryReported', connectionId, writtenSeq, ackedSeq: writtenSeq })
  yield at(closed(connectionId, {
    writtenSeq,
    ackedSeq: writtenSeq,
    uplinks: sessionUplinks,
    downlinksWritten: sessionDownlinks,
    downlinksAcked: sessionDownlinks,
  }))
}

async function audit () {
  const { openStoredLog, audit } = await product()
  const log = await openStoredLog(values.directory)
  let anonymousMb = 0
  const look = () => { anonymousMb = Math.max(anonymousMb, Math.round(memoryOf(process.pid).anonBytes / 2 ** 20)) }
  const timer = setInterval(look, 50)
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  const books = await audit(log, { exact: true })
  const seconds = (performance.now() - startMs) / 1000
  const { user, system } = process.cpuUsage(cpu)
  look()
  clearInterval(timer)
  await log.close()
  const { entries, users, uplinks, connections, downlinks: { requested, acked }, violations } = books
  console.log(JSON.stringify({
    perSecond: Math.round(entries / seconds),
    perCpuSecond: Math.round(entries / ((user + system) / 1e6)),
    seconds: Number(seconds.toFixed(2)),
    anonymousMb,
    peakRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
    entries,
    users,
    published: uplinks.published,
    recorded: connections.recorded,
    requested,
    acked,
    violations,
  }))
}

/** What is alive in the heap and beside it, the most of it: V8 lets garbage collect as long as there is memory. */
async function memory () {
  const { openStoredLog, audit } = await product()
  const log = await openStoredLog(values.directory)
  let liveMb = 0
  const timer = setInterval(() => {
    globalThis.gc()
    const { heapUsed, external } = process.memoryUsage()
    liveMb = Math.max(liveMb, Math.round((heapUsed + external) / 2 ** 20))
  }, 200)
  await audit(log, { exact: true })
  clearInterval(timer)
  await log.close()
  console.log(JSON.stringify({ liveMb }))
}

const steps = { all, build, audit, memory }
await steps[values.step]()
