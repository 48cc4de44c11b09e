/*
  How fast webhooks deliver to a local receiver that answers at once with 204: requests and records a second.

    npm run bench:webhooks -- [--records 200000] [--users 2000] [--batches 1,50] [--rounds 3]

  The uplinks stand in the stream before the gateway starts (120 bytes each), so that nothing else is measured. The
  gateway has core 0, the receiver, which counts and parses nothing, core 1. What counts is the time from the first
  request to the last, at the receiver; beside it what the gateway took of its core.
*/
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { serverFlags, spawnPinned, startServer, loadCore } from './peers/process.js'
import { startFlags } from './peers/ledgerline.js'

const [{ openStore }, { embeddedLog }, { uplinks }, { partitionOf }] = await Promise.all([
  import('../dist/ledger/embedded/store.js'), import('../dist/ledger/embedded/log.js'),
  import('../dist/schemas/streams.js'), import('../dist/schemas/partitioning.js'),
])
const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '200000' },
    users: { type: 'string', default: '2000' },
    batches: { type: 'string', default: '1,50' },
    rounds: { type: 'string', default: '3' },
  },
})
const [records, users, rounds] = [values.records, values.users, values.rounds].map(Number)
const program = fileURLToPath(new URL('../dist/cli/ledgerline.js', import.meta.url))
const partitions = 8
const perBlock = 100

const receiver = `
import { createServer } from 'node:http'
let requests = 0, bytes = 0, first = 0, last = 0
createServer((request, response) => {
  request.on('data', part => { bytes += part.length }).on('end', () => {
    last = performance.now()
    if (requests++ === 0) first = last
    response.writeHead(204).end()
  })
}).listen(0, '127.0.0.1', function () { console.log(JSON.stringify({ port: this.address().port })) })
process.stdin.on('data', () => { console.log(JSON.stringify({ requests, bytes, ms: last - first })) })
`

for (const batch of values.batches.split(',').map(Number)) {
  const found = []
  for (let round = 0; round < rounds; round++) found.push(await measure(batch))
  found.sort((a, b) => a.records - b.records)
  const { requests, records, cpuUs } = found[found.length >> 1]
  const range = [found[0], found.at(-1)].map(each => Math.round(each.records).toLocaleString('en-US')).join(' to ')
  console.log(`batches of ${batch}: ${Math.round(requests).toLocaleString('en-US')} requests, ` +
    `${Math.round(records).toLocaleString('en-US')} records a second (${range}), ${cpuUs.toFixed(1)} us of the gateway a record`)
}
process.exit()

async function measure (batch) {
  const directory = mkdtempSync(join(tmpdir(), 'ledgerline-bench-webhooks-'))
  try {
    // A tenth, one by one: as much as takes a few seconds either way.
    const count = batch === 1 ? Math.ceil(records / 10) : records
    await fill(directory, count)
    const child = spawnPinned(loadCore, [process.execPath, '--input-type=module', '-e', receiver])
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const next = async () => JSON.parse((await lines.next()).value)
    const { port } = await next()
    const webhook = {
      name: 'bench',
      url: `http://127.0.0.1:${port}/`,
      secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      streams: ['uplinks'],
      batch,
    }
    const server = await startServer([process.execPath, ...startFlags(), ...serverFlags({ serverFlags: [] }), program, 'start'], {
      env: {
        LEDGERLINE_DATA: directory,
        LEDGERLINE_HTTP_PORT: '0',
        LEDGERLINE_TCP_PORT: '0',
        LEDGERLINE_API_KEYS: 'a-key-of-this-run-only',
        LEDGERLINE_WEBHOOKS: JSON.stringify([webhook]),
        KAFKA_BROKERS: undefined,
        REDIS_URL: undefined,
      },
    })
    const startMs = cpuMs(server.ready.pid)
    let told = { requests: 0 }
    for (let before = -1; told.requests < count / batch || told.requests > before;) {
      before = told.requests
      await new Promise(resolve => setTimeout(resolve, 500))
      child.stdin.write('?')
      told = await next()
    }
    const cpuUs = (cpuMs(server.ready.pid) - startMs) * 1_000 / count
    await server.stop()
    child.kill('SIGKILL')
    return { requests: told.requests / told.ms * 1_000, records: count / told.ms * 1_000, cpuUs }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** What a process has taken of its core so far. */
function cpuMs (pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

async function fill (directory, count) {
  const store = await openStore({ directory })
  const log = embeddedLog(store, { partitions })
  const payload = Buffer.alloc(120, 'x')
  const blocks = Array.from({ length: partitions }, () => [])
  const seqs = new Map()
  const append = async partition => { await log.append(uplinks, partition, blocks[partition].splice(0)) }
  for (let i = 0; i < count; i++) {
    const userId = `user-${i % users}`
    const userSeq = (seqs.get(userId) ?? 0) + 1
    seqs.set(userId, userSeq)
    const partition = partitionOf(userId, partitions)
    blocks[partition].push({
      userId,
      userSeq,
      deviceId: 'phone',
      platform: 'ios',
      sessionId: 's1',
      seq: userSeq,
      connectionId: 'c1',
      service: 'bench',
      payload,
      priority: 0,
      receivedAtMs: Date.now(),
      roomId: '',
    })
    if (blocks[partition].length === perBlock) await append(partition)
  }
  for (let partition = 0; partition < partitions; partition++) if (blocks[partition].length > 0) await append(partition)
  await log.close()
  await store.close()
}
