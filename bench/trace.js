/*
  How long it takes to tell what became of one user's message: builds a data directory as a day of traffic leaves it,
  then times `ledgerline trace` of several users, a process from its start to its end, on the stopped directory and over
  HTTP. With --cluster the day goes into a Kafka of its own, where a trace reads it.

    npm run bench:trace -- [--users 1000000] [--entries 20000000] [--together 32] [--traces 8] [--directory DIR]
    npm run bench:trace -- --cluster [--users 1000000] [--entries 20000000] [--together 256] [--traces 8]

  What is assumed: a user connects once a day, for an hour, and all of its entries fall into that hour, between those of
  the forty thousand users that are there with it. A commit takes `together` entries of as many users: four to a block
  of one partition. With --directory an existing directory is used if there is one, and kept. In Kafka it is 32 to a
  block unless --together says otherwise: fewer take longer to append.
*/
import { execFile } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { closed, opened, requested } from '../dist/test/facts.js'

/** The only place that knows the product's modules. */
const built = name => import(`../dist/${name}.js`)
const [
  { default: fastify }, { startProgress }, { embeddedLog }, { openStore }, { openStoredLog }, { errorSchema },
  { logRoutes }, { streams }, { ledger }, { partitionOf }, { openKafkaLog }, { startServers },
] = await Promise.all([
  import('fastify'), built('cli/progress'), built('ledger/embedded/log'), built('ledger/embedded/store'),
  built('ledger/embedded/reader'), built('gateway/http/errors'), built('gateway/http/log'), built('ledger/streams'),
  built('schemas/streams'), built('schemas/partitioning'), built('ledger/kafka/open'), import('./cluster/servers.js'),
])
const program = fileURLToPath(new URL('../dist/cli/ledgerline.js', import.meta.url))

const run = promisify(execFile)

const hours = 24
const hourMs = 3_600_000
const dayStartMs = Date.UTC(2026, 0, 5)
const payload = Buffer.alloc(64, 'payload ')
const clusterPartitions = 8

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '1000000' },
    entries: { type: 'string', default: '20000000' },
    together: { type: 'string' },
    traces: { type: 'string', default: '8' },
    directory: { type: 'string' },
    keep: { type: 'boolean', default: false },
    cluster: { type: 'boolean', default: false },
  },
})
const users = Number(values.users)
const perUser = Math.max(4, Math.round(Number(values.entries) / users))
const together = Number(values.together ?? (values.cluster ? 256 : 32))
if (values.cluster) await inKafka()
else await inDirectory()

async function inDirectory () {
  const directory = values.directory ?? await mkdtemp(join(tmpdir(), 'ledgerline-trace-'))
  try {
    if (!existsSync(join(directory, 'data.mdb'))) await build(directory)
    await report(directory)
  } finally {
    if (!values.keep && values.directory === undefined) await rm(directory, { recursive: true })
  }
}

async function build (directory) {
  let nowMs = dayStartMs
  const store = await openStore({ directory, commits: 'sync' })
  const log = embeddedLog(store, { now: () => nowMs })
  await fill(log, atMs => { nowMs = atMs })
  await store.close()
}

async function inKafka () {
  const { brokers, stop } = await startServers(fileURLToPath(new URL('../dist', import.meta.url)))
  try {
    const failed = (what, err) => { console.error(what, err.message) }
    const topics = streams.map(stream => ({ stream, partitions: clusterPartitions }))
    const log = await openKafkaLog({ brokers, topicPrefix: 'ledgerline', clientId: 'bench', streams: topics, failed })
    await fill(log, () => {})
    await log.close()
    print('trace, Kafka', await timed(question, { KAFKA_BROKERS: brokers.join(',') }))
  } finally {
    await stop()
  }
}

/** @param {(atMs: number) => void} passed told what time it is */
async function fill (log, passed) {
  const partitions = log.partitions(ledger)
  const progress = startProgress({ label: 'a day of traffic', total: users * perUser, unit: 'entries' })
  const startedMs = performance.now()
  const cpu = process.cpuUsage()
  const perHour = Math.ceil(users / hours)
  let appends = []
  for (let hour = 0; hour < hours; hour++) {
    for (let step = 0; step < perUser; step++) {
      const nowMs = dayStartMs + hourMs * (hour + step / perUser)
      passed(nowMs)
      for (let user = hour * perHour; user < Math.min(users, (hour + 1) * perHour); user++) {
        const userId = userIdOf(user)
        const entry = { userId, atMs: Math.floor(nowMs), fact: factOf(user, step) }
        appends.push(log.append(ledger, partitionOf(userId, partitions), [entry]))
        if (appends.length < together) continue
        await Promise.all(appends)
        progress.add(appends.length)
        appends = []
      }
    }
  }
  await Promise.all(appends)
  progress.end()
  const { user, system } = process.cpuUsage(cpu)
  print('built', {
    users,
    entries: log.metrics.entriesAppended,
    blocks: log.metrics.blocksAppended,
    seconds: (performance.now() - startedMs) / 1000,
    cpuSeconds: (user + system) / 1e6,
  })
}

/** What a user has in its hour: a connection, uplinks, downlinks that are acked, and the end of the connection. */
function factOf (user, step) {
  const connectionId = `c${user.toString(36).padStart(15, '0')}`
  const seq = downlinksBefore(step)
  if (step === 0) return opened(connectionId, { nodeEpoch: dayStartMs, sessionId: `s${user}`, uplinkWindow: 256 })
  if (step === perUser - 1) {
    const acked = { downlinksWritten: seq, downlinksAcked: seq }
    return closed(connectionId, { writtenSeq: seq, ackedSeq: seq, uplinks: 8, ...acked })
  }
  if (step % 4 === 2) {
    return requested(messageIdOf(user, seq + 1), { service: 'chat', payload, ttlMs: 7 * hours * hourMs })
  }
  if (step % 4 === 3) {
    return { type: 'DeliveryReported', connectionId, writtenSeq: seq, ackedSeq: seq }
  }
  return { type: 'UplinkReceived', connectionId, seq: step - 2 * seq, service: 'chat', payload, priority: 0, roomId: '' }
}

function downlinksBefore (step) { return Math.floor((step + 1) / 4) }

function userIdOf (user) { return `user-${user}` }

function messageIdOf (user, seq) { return `m${user}-${seq}` }

async function report (directory) {
  await reportIndex(directory)
  print('trace, stopped directory', await timed(user => [...question(user), '--data', directory]))

  const app = fastify()
  app.addSchema(errorSchema)
  const log = await openStoredLog(directory)
  app.register(logRoutes, { logReader: log, streams })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  print('trace, over HTTP', await timed(user => [...question(user), '--url', url]))
  await app.close()
  await log.close()
}

/** What both indexes take; their kinds are those of ledger/embedded/keys.ts. */
async function reportIndex (directory) {
  const store = await openStore({ directory })
  const bytesOf = kind => {
    let [rows, bytes] = [0, 0]
    for (const { key, value } of store.env.getRange({ start: Buffer.from([kind, 0]), end: Buffer.from([kind + 1]) })) {
      rows++
      bytes += key.length + value.length
    }
    return { rows, bytes, bytesPerEntry: bytes / (users * perUser) }
  }
  print('index by user', bytesOf(0x0a))
  print('index by offset', bytesOf(0x02))
  print('data file', { bytes: statSync(join(directory, 'data.mdb')).size })
  await store.close()
}

function question (user) { return ['trace', userIdOf(user), '--message', messageIdOf(user, 1), '--json'] }

/** Traces of users from all over the day. */
async function timed (argsOf, env = {}) {
  const traces = Number(values.traces)
  const asked = Array.from({ length: traces }, (_, i) => Math.floor((i + 0.5) * users / traces))
  const ms = []
  for (const user of asked) {
    const startedMs = performance.now()
    const command = [program, ...argsOf(user)]
    const { stdout } = await run(process.execPath, command, { env: { PATH: process.env.PATH, ...env } })
    ms.push(performance.now() - startedMs)
    const { verdict, steps } = JSON.parse(stdout)
    if (verdict.code !== 'acked') throw new Error(`${userIdOf(user)}: got ${verdict.code}, ${steps.length} steps`)
  }
  ms.sort((a, b) => a - b)
  return { traces: ms.length, firstMs: ms[0], medianMs: ms[ms.length >> 1], slowestMs: ms.at(-1) }
}

function print (what, figures) {
  const rounded = Object.entries(figures).map(([name, value]) => [name, Math.round(value * 100) / 100])
  console.log(JSON.stringify({ what, ...Object.fromEntries(rounded) }))
}
