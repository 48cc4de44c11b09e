/*
  What a node asks of Kafka and Redis where there is much of everything: partitions, nodes that report their load, users
  whose states are saved. Measures how long it takes to be ready, what it asks for while nothing happens, what an answer
  of ip-config and of /v1/lag costs, and the memory of a user in Redis.

    npm run bench:scale -- [--partitions 128] [--nodes 100] [--users 1000000] [--rest 30]

  The nodes are their records in the stream `nodes`, told as real ones tell them. A user is folded from facts; each has
  an id of its own, and they are saved by the snapshots of a node, under a prefix of their own.
*/
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { usedBytes } from './cluster/redis-memory.js'

/** The only place that knows the product's modules. */
const built = name => import(`../dist/${name}.js`)
const [
  { startProgress }, { readConfig }, { startNode }, { tellOfNode }, { ensureSecrets }, { chooseEndpoints },
  { nodeRows, noReport }, { openKafkaLog }, { Connection }, { ledger, nodes: nodesStream }, { redisSnapshots },
  { newUser }, { fold }, { changesOf }, { opened, requested }, { connectRedis }, { startServers },
] = await Promise.all([
  built('cli/progress'), built('gateway/read-config'), built('gateway/main'), built('gateway/node'), built('gateway/secrets'),
  built('gateway/choice'), built('projections/nodes'), built('ledger/kafka/open'), built('ledger/kafka/connection'),
  built('schemas/streams'), built('actors/snapshots-redis'), built('actors/user/state'), built('actors/user/fold'),
  built('actors/user/parts'), built('test/facts'), built('gateway/redis'), import('./cluster/servers.js'),
])

const { values } = parseArgs({
  options: {
    partitions: { type: 'string', default: '128' },
    nodes: { type: 'string', default: '100' },
    users: { type: 'string', default: '1000000' },
    rest: { type: 'string', default: '30' },
  },
})
const [partitions, nodeCount, users, restS] = [values.partitions, values.nodes, values.users, values.rest].map(Number)
const leaseMs = 15_000
const usersPerSave = 500
const busyUsers = 1_000
const requestsOfBusy = 1_000
const answers = 2_000
const lagAnswers = 15
const appendEveryMs = 1_000
const startsMax = 5
const prefix = 'ledgerline'

const dataDir = mkdtempSync(join(tmpdir(), 'ledgerline-scale-'))
const { brokers, redisUrl, stop } = await startServers(fileURLToPath(new URL('../dist', import.meta.url)))
const redis = await connectRedis(redisUrl, { commandTimeoutMs: 60_000 })
const asked = countRequests()
const figures = {}
try {
  figures['memory of an idle user with a session, bytes'] = await memoryOf('idle', users, () => {})
  figures[`memory of one with ${requestsOfBusy} requests remembered, bytes`] = await memoryOf('busy', busyUsers, remember)
  const startMs = performance.now()
  await (await firstStart()).stop()
  figures['first start, with its topics, ms'] = Math.round(performance.now() - startMs)
  const { node, ms, evalsha, hgetall, kafka } = await timedStart()
  Object.assign(figures, {
    'start, ms': ms, 'start: EVALSHA': evalsha, 'start: HGETALL': hgetall, 'start: requests to Kafka': kafka,
  })
  const reports = await reportAs(nodeCount)
  await knows(node, nodeCount + 1)
  for (const [name, count] of await atRest()) figures[`at rest, a second: ${name}`] = count
  Object.assign(figures, await ipConfig(node))
  Object.assign(figures, await lag(node))
  await reports.stop()
  await node.stop()
} finally {
  console.table(figures) // those that there are, also where a later one failed
  redis.disconnect()
  await stop()
  rmSync(dataDir, { recursive: true, force: true })
}
process.exit()

/** @param more what an ordinary user goes through besides */
async function memoryOf (name, count, more) {
  const bar = startProgress({ label: `${name} users`, total: count, unit: 'users' })
  const snapshots = redisSnapshots(redis, { prefix: `scale-${name}`, identity: 'a log' })
  const saved = changesOf(user(more))
  const before = await usedBytes(redis)
  const next = new Array(partitions).fill(0n)
  for (let from = 0, turn = 0; from < count; from += usersPerSave, turn++) {
    const partition = turn % partitions
    const together = Math.min(usersPerSave, count - from)
    const changes = new Map(Array.from({ length: together }, () => [randomUUID(), saved]))
    await snapshots.save(partition, next[partition] += 1n, changes)
    bar.add(together)
  }
  bar.end()
  const bytes = Math.round((await usedBytes(redis) - before) / count)
  snapshots.close()
  return bytes
}

function user (more) {
  const state = newUser()
  const [userId, connectionId, sessionId, deviceId] = Array.from({ length: 4 }, () => randomUUID())
  const take = (fact, atMs = Date.now()) => {
    fold(state, { userId, atMs, fact })
    state.offset++
  }
  const session = { connectionId, sessionId, deviceId }
  take(opened(connectionId, { sessionId, deviceId, nodeId: 'edge-7f9c4d5b-x2x4z', uplinkWindow: 32 }))
  for (let seq = 1; seq <= 32; seq++) {
    take({ type: 'UplinkReceived', ...session, seq, service: '', priority: 0, roomId: '', payload: Buffer.alloc(0) })
  }
  more(take, session)
  return state
}

function remember (take, session) {
  for (let i = 0; i < requestsOfBusy; i++) take(requested(randomUUID()))
  take({ type: 'DeliveryReported', ...session, ackedSeq: requestsOfBusy, writtenSeq: requestsOfBusy })
}

/** A broker that is busy creates topics for longer than a start waits: whoever runs nodes starts them again. */
async function firstStart () {
  for (let tries = 1; ; tries++) {
    try {
      return (await timedStart()).node
    } catch (err) {
      if (tries === startsMax || !err.message.includes('has no leader')) throw err
    }
  }
}

async function timedStart () {
  await redis.config('RESETSTAT')
  asked.clear()
  const config = await ensureSecrets(readConfig({
    KAFKA_BROKERS: brokers.join(),
    REDIS_URL: redisUrl,
    LEDGERLINE_PARTITIONS: `${partitions}`,
    LEDGERLINE_TOPIC_PREFIX: prefix,
    LEDGERLINE_NODE_ID: 'measured',
    LEDGERLINE_DATA: dataDir,
    LEDGERLINE_HOST: '127.0.0.1',
    LEDGERLINE_HTTP_PORT: '0',
    LEDGERLINE_TCP_PORT: '0',
    LEDGERLINE_LEASE_MS: `${leaseMs}`,
    LEDGERLINE_DRAIN_MS: '0',
    LEDGERLINE_STOP_GRACE_MS: '0',
  }))
  const startMs = performance.now()
  const node = await startNode(config, pino({ level: 'fatal' }))
  const ms = Math.round(performance.now() - startMs)
  const commands = await commandCounts()
  const kafka = [...asked.values()].reduce((sum, count) => sum + count, 0)
  return { node, ms, evalsha: commands.get('evalsha') ?? 0, hgetall: commands.get('hgetall') ?? 0, kafka }
}

/** Tells the start and then the load of so many nodes, each as often as a real one. */
async function reportAs (count) {
  const log = await openKafkaLog({
    brokers,
    topicPrefix: prefix,
    clientId: 'nodes',
    streams: [{ stream: nodesStream, partitions: 1 }],
    failed: (what, error) => { console.error(what, error.message) },
  })
  const identities = Array.from({ length: count }, (_, i) => ({ nodeId: `edge-${i}`, epoch: Date.now() }))
  const tell = fact => Promise.all(identities.map((identity, i) => tellOfNode(log, identity, fact(i))))
  await tell(i => ({
    type: 'NodeStarted',
    region: `region-${i % 3}`,
    roles: 'edge',
    version: '1.0.0',
    wsUrl: `wss://edge-${i}.example.com/v1/connect`,
    tcpUrl: `tcp://edge-${i}.example.com:7400`,
    connectionsMax: 100_000,
    leaseMs,
  }))
  const timers = identities.map((identity, i) => {
    const report = () => tellOfNode(log, identity, {
      type: 'NodeReported',
      ...noReport,
      connections: i * 900,
      eventLoopUtilization: i / count,
      rssBytes: 1 << 30,
      memoryBytesMax: 4 << 30,
    }).catch(err => { console.error(err.message) })
    return setTimeout(() => {
      report()
      timers[i] = setInterval(report, leaseMs / 3)
    }, i * leaseMs / 3 / count)
  })
  return {
    async stop () {
      for (const timer of timers) clearInterval(timer)
      await log.close()
    },
  }
}

async function knows (node, count) {
  while ((await nodesOf(node)).length < count) await wait(100)
}

async function nodesOf (node) { return (await ask(node, '/v1/nodes')).nodes }

async function ask ({ http }, path) {
  const apiKey = readFileSync(join(dataDir, 'api-key'), 'utf8').trim()
  const response = await fetch(http + path, { headers: { authorization: `Bearer ${apiKey}` } })
  const answer = await response.json()
  if (!response.ok) throw new Error(`${path}: ${response.status} ${answer.message}`)
  return answer
}

/** What the node asks for while nothing happens but the reports; of Redis by command, scripts' own calls included. */
async function atRest () {
  const bar = startProgress({ label: 'at rest', total: restS, unit: 's' })
  const [before, kafkaBefore, cpu] = [await commandCounts(), new Map(asked), process.cpuUsage()]
  for (let s = 0; s < restS; s++) {
    await wait(1_000)
    bar.add(1)
  }
  bar.end()
  const [after, { user, system }] = [await commandCounts(), process.cpuUsage(cpu)]
  const perSecond = (now, then) => Array.from(now, ([name, count]) =>
    [name, round((count - (then.get(name) ?? 0)) / restS)])
  return [
    ...perSecond(after, before).filter(([, count]) => count >= 0.5).sort(([, a], [, b]) => b - a),
    ...perSecond(asked, kafkaBefore).filter(([, count]) => count > 0).map(([name, count]) => [`Kafka ${name}`, count]),
    ['CPU, %', round((user + system) / restS / 10_000)],
  ]
}

async function ipConfig (node) {
  const bar = startProgress({ label: 'ip-config', total: answers, unit: 'answers' })
  const times = []
  const before = await commandCounts()
  for (let i = 0; i < answers; i++) {
    const startMs = performance.now()
    await (await fetch(`${node.http}/v1/ip-config?transport=tcp&region=region-1`)).json()
    times.push(performance.now() - startMs)
    bar.add(1)
  }
  bar.end()
  const scripts = (await commandCounts()).get('evalsha') - before.get('evalsha')
  times.sort((a, b) => a - b)
  const rows = nodeRows((await nodesOf(node)).map(asRow), Date.now())
  const startMs = performance.now()
  for (let i = 0; i < answers; i++) {
    chooseEndpoints({ nodes: rows, transport: 'tcp', region: 'region-1', nowMs: Date.now(), random: Math.random })
  }
  return {
    'ip-config: p50, ms': round(times[answers >> 1]),
    'ip-config: p99, ms': round(times[Math.floor(answers * 0.99)]),
    [`ip-config: scripts for ${answers} answers`]: scripts,
    'ip-config: choosing alone, us': Math.round((performance.now() - startMs) / answers * 1_000),
  }
}

/** At rest, and while every partition of the ledger gets an entry now and then: somebody is always behind then. */
async function lag (node) {
  const log = await openKafkaLog({
    brokers,
    topicPrefix: prefix,
    clientId: 'writers',
    streams: [{ stream: ledger, partitions }],
    failed: (what, error) => { console.error(what, error.message) },
  })
  const over = new AbortController()
  try {
    const rest = await lagTimes(node)
    const fact = { type: 'DeliveryReported', connectionId: 'nobody', writtenSeq: 0, ackedSeq: 0 }
    const writers = Array.from({ length: partitions }, async (_, partition) => {
      const userId = `user-${partition}`
      while (!over.signal.aborted) {
        await log.append(ledger, partition, [{ userId, atMs: Date.now(), fact }])
        await wait(appendEveryMs)
      }
    })
    await wait(3_000)
    const beside = await lagTimes(node)
    over.abort()
    await Promise.all(writers)
    return { ...named('lag at rest', rest), ...named('lag beside appends to each partition', beside) }
  } finally {
    over.abort()
    await log.close()
  }
}

async function lagTimes (node) {
  const times = []
  for (let i = 0; i < lagAnswers; i++) {
    const startMs = performance.now()
    await ask(node, '/v1/lag')
    times.push(performance.now() - startMs)
  }
  return times.sort((a, b) => a - b)
}

function named (what, times) {
  return { [`${what}: median, ms`]: round(times[times.length >> 1]), [`${what}: longest, ms`]: round(times.at(-1)) }
}

function asRow ({ nodeId, epoch, startedAtMs, reportedAtMs, reported, ...started }) {
  return {
    key: nodeId,
    fields: new Map([
      ['started', { epoch, atMs: startedAtMs, ...started }], ['reported', { epoch, atMs: reportedAtMs, ...reported }],
    ]),
  }
}

/** Requests to Kafka of all connections of this process, by name. */
function countRequests () {
  const counts = new Map()
  const { send } = Connection.prototype
  Connection.prototype.send = function (api, ...rest) {
    counts.set(api.name, (counts.get(api.name) ?? 0) + 1)
    return send.call(this, api, ...rest)
  }
  return counts
}

async function commandCounts () {
  const found = (await redis.info('commandstats')).matchAll(/cmdstat_(\S+?):calls=(\d+)/g)
  return new Map(Array.from(found, ([, name, calls]) => [name, Number(calls)]))
}

function round (value) { return Math.round(value * 10) / 10 }
