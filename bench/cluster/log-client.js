/*
  The log's client by itself, as one process that appends to the ledger and follows it: how much of its CPU an entry
  costs, produced and consumed. Prints one JSON line.

    node log-client.js BUILD BROKERS WARM_MS WINDOW_MS
*/
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'

const appenders = 200
const entriesOfAppend = 16
const partitions = 8
const payload = Buffer.alloc(120, 'ledgerline ')
const catchUpMsMax = 30_000
const pollMs = 5

const [build, brokers, warmMs, windowMs] = process.argv.slice(2)
try {
  console.log(JSON.stringify(await measure(await openProduct())))
} catch (err) {
  console.error(err.stack)
  process.exitCode = 1
}

/** The only place that knows the product's modules. */
async function openProduct () {
  const load = file => import(pathToFileURL(join(build, file)).href)
  const [{ openKafkaLog }, { ledger }, { partitionOf }] = await Promise.all([
    load('ledger/kafka/open.js'), load('schemas/streams.js'), load('schemas/partitioning.js'),
  ])
  const log = await openKafkaLog({
    brokers: brokers.split(','),
    topicPrefix: `log-client.${process.pid}`,
    clientId: 'bench',
    streams: [{ stream: ledger, partitions }],
    failed: (what, err) => console.error(`${what}: ${err.message}`),
  })
  return { log, ledger, partitionOf }
}

async function measure ({ log, ledger, partitionOf }) {
  const count = { appended: 0, followed: 0 }
  const following = await log.follow(ledger, 'bench', {
    assigned: async () => 0n,
    received: ({ items }) => { count.followed += items.length },
    revoked: async () => {},
  })
  const state = { stopping: false }
  const running = Array.from({ length: appenders }, async (_, i) => {
    const userId = `user-${i}`
    const partition = partitionOf(userId, partitions)
    for (let seq = 1; !state.stopping; seq += entriesOfAppend) {
      await log.append(ledger, partition, entriesFrom(userId, seq))
      count.appended += entriesOfAppend
    }
  })
  await wait(Number(warmMs))
  const before = { ...count }
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  await wait(Number(windowMs))
  state.stopping = true
  await Promise.all(running)
  const seconds = (performance.now() - startMs) / 1000
  // What is appended counts as done when it was followed, too: the CPU of that belongs to it.
  const endMs = performance.now() + catchUpMsMax
  while (count.followed < count.appended && performance.now() < endMs) await wait(pollMs)
  const used = process.cpuUsage(cpu)
  const entries = count.appended - before.appended
  const followed = count.followed - before.followed
  if (count.followed < count.appended) throw new Error(`followed ${count.followed} of ${count.appended} entries`)
  await following.stop()
  await log.close()
  return {
    nsPerEntry: 1000 * (used.user + used.system) / ((entries + followed) / 2),
    entriesPerSecond: entries / seconds,
    entries,
    followed,
    userShare: used.user / (used.user + used.system),
  }
}

/** Made here, as the edge makes them of frames: the log takes what it is given. */
function entriesFrom (userId, seq) {
  const atMs = Date.now()
  const entries = []
  for (let i = 0; i < entriesOfAppend; i++) {
    const fact = {
      type: 'UplinkReceived', connectionId: 'AAAAAAAAAAAAAAAA', seq: seq + i, service: '', payload, priority: 0, roomId: '',
    }
    entries.push({ userId, atMs, fact })
  }
  return entries
}
