/*
  What the tables cost with a million users in Redis: memory by table and by kind of row, a kick by connection id, and
  the end of a lost node's connections; beside that what a walk over the table takes, and the index of rows that an
  earlier version has written. A ledger in a temporary directory gets an opening for each user, and the projections of
  a node follow it into a Redis of their own.

    npm run bench:scale-tables -- [--users 1000000] [--partitions 128] [--nodes 200] [--kicks 200] [--value-max 64]
                                  [--skip-walk]

  Each node has as many connections as any other: 5,000 unless an option says otherwise. `--value-max` is what Redis is
  started with as `hash-max-listpack-value`: its default unless given.
*/
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { opened } from '../dist/test/facts.js'
import { usedBytes } from './cluster/redis-memory.js'

/** The only place that knows the product's modules. */
const built = name => import(`../dist/${name}.js`)
const [
  { startProgress }, { embeddedLog }, { openStore }, { History }, { presence }, { connectionsOf, routing }, { Runner },
  { redisTables }, { ledger }, { partitionOf }, { connectRedis }, { kick }, { endConnections },
  { redisMissing, startRedis },
] = await Promise.all([
  built('cli/progress'), built('ledger/embedded/log'), built('ledger/embedded/store'), built('projections/history'),
  built('projections/presence'), built('projections/routing'), built('projections/runner'),
  built('projections/tables/redis'), built('schemas/streams'), built('schemas/partitioning'), built('gateway/redis'),
  built('gateway/kick'), built('gateway/orphans'), built('test/cluster/redis'),
])

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '1000000' },
    partitions: { type: 'string', default: '128' },
    nodes: { type: 'string', default: '200' },
    kicks: { type: 'string', default: '200' },
    'skip-walk': { type: 'boolean', default: false },
    'value-max': { type: 'string', default: '64' },
  },
})
const [users, partitions, nodes, kicks] = [values.users, values.partitions, values.nodes, values.kicks].map(Number)
const all = Array.from({ length: partitions }, (_, partition) => partition)
const perAppend = 200
const appendsMax = 64
const prefix = 'scale'
const epoch = Date.UTC(2026, 0, 5)
/** Of some users, to be kicked. */
const sample = []

const missing = redisMissing()
if (missing) throw new Error(missing)
const stops = []
const directory = await mkdtemp(join(tmpdir(), 'ledgerline-scale-'))
try {
  await measure()
} finally {
  for (const stop of stops.reverse()) await stop()
  await rm(directory, { recursive: true })
}

async function measure () {
  const { url } = await startRedis({ teardown: stop => stops.push(stop) }, {
    args: ['--hash-max-listpack-value', values['value-max']],
  })
  const redis = await connectRedis(url, { commandTimeoutMs: 600_000 }) // a machine that is busy otherwise is no failure
  stops.push(() => redis.disconnect())
  const store = await openStore({ directory })
  const log = embeddedLog(store, { partitions })
  stops.push(async () => { await log.close(); await store.close() })
  const tables = redisTables(redis, { prefix, identity: 'a log', partitions: () => partitions })
  stops.push(() => tables.close())

  await fillLedger(log)
  const memory = await fillTables(redis, log, tables)
  const kinds = await memoryByKind(redis)
  console.table({ ...memory, ...kinds })
  const keepers = await Promise.all([start(log, tables, presence), start(log, tables, routing), start(log, tables)])
  const times = await timeAll(redis, log, tables)
  for (const keeper of keepers) await keeper.stop()
  console.table(times)
}

async function fillLedger (log) {
  const bar = startProgress({ label: 'ledger', total: users, unit: 'users' })
  const waiting = all.map(() => [])
  const appends = []
  const flush = async partition => {
    const entries = waiting[partition].splice(0)
    if (entries.length > 0) appends.push(log.append(ledger, partition, entries).then(() => { bar.add(entries.length) }))
    if (appends.length >= appendsMax) await Promise.all(appends.splice(0))
  }
  for (let user = 0; user < users; user++) {
    const userId = `user-${user}`
    const partition = partitionOf(userId, partitions)
    waiting[partition].push({ userId, atMs: epoch + user, fact: openingOf(user) })
    if (waiting[partition].length >= perAppend) await flush(partition)
  }
  for (const partition of all) await flush(partition)
  await Promise.all(appends)
  bar.end()
}

/** As a device of a real size has it. */
function openingOf (user) {
  const connectionId = randomBytes(12).toString('base64url')
  if (user % Math.ceil(users / kicks) === 0) sample.push(connectionId)
  return opened(connectionId, {
    nodeId: `edge-${user % nodes}`,
    nodeEpoch: epoch + user % nodes,
    deviceId: randomUUID(),
    platform: user % 3 === 0 ? 'ios' : 'android',
    client: 'ledgerline-client/0.1.0',
    sessionId: randomUUID(),
    transport: 'ws',
    address: `198.51.${user % 256}.${user % 251}:${10_000 + user % 50_000}`,
  })
}

/** One table after the other, by whoever keeps it in a node, so that each one's memory can be told. */
async function fillTables (redis, log, tables) {
  const memory = {}
  let [before, keysBefore] = [await usedBytes(redis), await redis.dbsize()]
  for (const [table, projection] of [['presence', presence], ['routing', routing], ['connections', undefined]]) {
    const startMs = performance.now()
    const bar = startProgress({ label: table, total: users, unit: 'users' })
    const keeper = await start(log, tables, projection)
    let had = 0
    for (let has = 0; has < all.length;) {
      await delay(200)
      has = 0
      let sum = 0
      for (const partition of all) {
        const [{ next }, end] = [await tables.position(table, partition), await log.bounds(ledger, partition)]
        if (next >= end.next) has++
        sum += Number(next) / Number(end.next) * users / partitions
      }
      bar.add(Math.round(sum) - had)
      had = Math.round(sum)
    }
    await keeper.stop()
    bar.end()
    const [after, keys] = [await usedBytes(redis), await redis.dbsize()]
    memory[`table ${table}`] = {
      'bytes a user': Math.round((after - before) / users),
      keys: keys - keysBefore,
      'filled in s': seconds(performance.now() - startMs),
    }
    ;[before, keysBefore] = [after, keys]
  }
  return memory
}

function start (log, tables, projection) {
  const reports = {
    onPoison: ({ error }) => { throw error },
    onFailed: ({ error }) => { console.error(error.message) },
  }
  if (projection === undefined) return History.start({ log, tables, ...reports })
  return Runner.start({
    log, tables, stream: ledger, group: `keeps ${projection.table}`, projections: [projection], ...reports,
  })
}

/** Of table `routing`, as Redis tells of each key of one partition. */
async function memoryByKind (redis) {
  const kinds = { user: 0, conn: 0, node: 0, nodes: 0 }
  const counts = { user: 0, conn: 0, node: 0, nodes: 0 }
  let own = 0
  for (let user = 0; user < users; user++) if (partitionOf(`user-${user}`, partitions) === 0) own++
  const names = []
  for (let cursor = '0'; ;) {
    const [next, found] = await redis.scan(cursor, 'MATCH', `{${prefix}.0}:routing:*`, 'COUNT', 10_000)
    names.push(...found)
    cursor = next
    if (cursor === '0') break
  }
  for (const name of names) {
    const kind = name.split(':')[3]
    if (!(kind in kinds)) continue
    kinds[kind] += await redis.memory('USAGE', name)
    counts[kind]++
  }
  return Object.fromEntries(Object.keys(kinds).map(kind => [`routing, rows "${kind}"`, {
    'bytes a user': Math.round(10 * kinds[kind] / own) / 10,
    keys: counts[kind] * partitions,
  }]))
}

async function timeAll (redis, log, tables) {
  const times = {}
  const deps = { log, tables }
  const byId = []
  for (const connectionId of sample) {
    byId.push(await timed(async () => {
      const { connections } = await kick(deps, { app: '', userId: '', connectionId, reason: '', by: '' })
      if (connections.length !== 1) throw new Error(`connection ${connectionId} was not found`)
    }))
  }
  note(times, 'kick by connection id', byId)
  note(times, 'the same for one that nobody has', [
    await timed(() => kick(deps, { app: '', userId: '', connectionId: 'nobody-has-this', reason: '', by: '' })),
  ])

  const isLost = ({ nodeId }) => nodeId === 'edge-1'
  let found = 0
  const countLost = async () => {
    found = 0
    for await (const { userId } of connectionsOf(tables, all, isLost)) if (userId !== '') found++
  }
  note(times, 'find the connections of a node', [await timed(countLost)])
  const had = found
  const cpu = process.cpuUsage()
  note(times, `end them: ${had} facts in the ledger`, [
    await timed(() => endConnections(log, tables, all, isLost, 'its node is gone')),
  ])
  const endedMs = performance.now()
  await settled(log, tables, ['presence', 'routing'])
  note(times, 'until presence and routing show it', [performance.now() - endedMs])
  await settled(log, tables, ['connections'])
  note(times, 'until their history is written', [performance.now() - endedMs])
  const { user, system } = process.cpuUsage(cpu)
  note(times, 'CPU of this process from their end on', [(user + system) / 1_000])
  await countLost()
  if (found > 0) throw new Error(`${found} of ${had} are still there`)

  if (values['skip-walk']) return times
  let rows = 0
  note(times, 'a walk over the table, for comparison', [await timed(async () => {
    const bar = startProgress({ label: 'walk', total: users, unit: 'rows' })
    for await (const { key } of tables.scan('routing')) {
      if (!key.startsWith('user:')) continue
      rows++
      bar.add(1)
    }
    bar.end()
  })])
  if (rows < users - had) throw new Error(`walked over ${rows} rows only`)

  for (const partition of all) {
    const meta = `{${prefix}.${partition}}:routing`
    await redis.hdel(meta, `index:${await redis.hget(meta, 'live')}`)
  }
  note(times, 'make the index of rows of an earlier version', [await timed(async () => {
    const left = await tables.index('routing', all)
    if (left.length > 0) throw new Error(`not made in ${left}`)
  })])
  return times
}

async function settled (log, tables, names) {
  for (const table of names) {
    for (const partition of all) {
      const { next } = await log.bounds(ledger, partition)
      while ((await tables.position(table, partition)).next < next) await delay(5)
    }
  }
}

async function timed (work) {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}

/** Told at once as well: what comes later may take long. */
function note (times, what, ms) {
  times[what] = spread(ms)
  console.error(what, times[what])
}

function spread (ms) {
  const sorted = ms.sort((a, b) => a - b)
  const at = share => Math.round(10 * sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]) / 10
  return ms.length === 1 ? { 'median ms': at(0) } : { 'median ms': at(0.5), 'p99 ms': at(0.99), 'max ms': at(1) }
}

function seconds (ms) { return Math.round(ms / 100) / 10 }
