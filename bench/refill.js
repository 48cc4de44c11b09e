/*
  How long the saved states of users take from their home in Kafka to a Redis that has lost everything: saves so many
  users, empties Redis, and times until every partition can be owned again.

    npm run bench:refill -- [--users 100000] [--bytes 1000] [--partitions 8] [--rounds 3]

  A user is a head and one part of so many bytes together.
*/
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/** The only place that knows the product's modules. */
const built = name => import(`../dist/${name}.js`)
const [
  { startProgress }, { clusterSnapshots }, { redisSnapshots }, { openKafkaLog }, { ledger }, { connectRedis },
  { startServers },
] = await Promise.all([
  built('cli/progress'), built('actors/snapshots-cluster'), built('actors/snapshots-redis'), built('ledger/kafka/open'),
  built('schemas/streams'), built('gateway/redis'), import('./cluster/servers.js'),
])

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '100000' },
    bytes: { type: 'string', default: '1000' },
    partitions: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '3' },
  },
})
const [users, bytes, partitions, rounds] = [values.users, values.bytes, values.partitions, values.rounds].map(Number)
const perSave = 1_000
const all = Array.from({ length: partitions }, (_, partition) => partition)

const { brokers, redisUrl, stop } = await startServers(fileURLToPath(new URL('../dist', import.meta.url)))
const redis = await connectRedis(redisUrl)
const kafka = await openKafkaLog({
  brokers,
  topicPrefix: 'refill',
  clientId: 'bench',
  streams: [{ stream: ledger, partitions }],
  changelogs: [{ name: 'states', like: ledger }],
  failed: (what, error) => { console.error(what, error.message) },
})
const snapshots = clusterSnapshots({
  changelog: kafka.changelog('states'),
  copy: redisSnapshots(redis, { prefix: 'refill', identity: kafka.identity }),
  identity: kafka.identity,
})
try {
  const savedMs = await timed(save)
  console.log(`${users} users of ${bytes} bytes saved in ${seconds(savedMs)} s`)
  const times = []
  for (let round = 1; round <= rounds; round++) {
    await redis.flushall()
    times.push(await timed(() => Promise.all(all.map(partition => snapshots.checkpoint(partition)))))
    console.log(`round ${round} of ${rounds}: Redis filled in ${seconds(times.at(-1))} s, ${await heads()} users in it`)
  }
  console.log(`median ${seconds(times.sort((a, b) => a - b)[rounds >> 1])} s for ${users} users`)
} finally {
  snapshots.close()
  await kafka.close()
  redis.disconnect()
  await stop()
}

async function save () {
  const bar = startProgress({ label: 'save', total: users, unit: 'users' })
  await Promise.all(all.map(async partition => {
    const own = Math.floor(users / partitions) + (partition < users % partitions ? 1 : 0)
    for (let from = 0; from < own; from += perSave) {
      const count = Math.min(perSave, own - from)
      const changes = new Map(Array.from({ length: count }, (_, i) => [`user-${partition}-${from + i}`, user()]))
      await snapshots.save(partition, BigInt(from + count), changes)
      bar.add(count)
    }
  }))
  bar.end()
}

function user () {
  const half = Buffer.alloc(bytes >> 1, 'state ')
  return { head: half, added: new Map([['m1', half]]), changed: new Map(), gone: [] }
}

async function heads () {
  let count = 0
  for (const partition of all) for await (const { part } of snapshots.keys(partition)) if (part === undefined) count++
  return count
}

async function timed (work) {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}

function seconds (ms) { return (ms / 1_000).toFixed(1) }
