/*
  Exports the history of connections from a data directory, once in each format, and prints one JSON line for each.
  Reading and decoding the stream is part of what is timed; the directory is made for it, and removed.

    node export.js [ROWS]
*/
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const {
  connectionHistory: history, exportDirectory, historyFormats, historyOf, historyRanges, openStore, embeddedLog,
  connections,
} = await openProduct()
const rowsMax = Number(process.argv[2] ?? 1_000_000)
const blockRows = 50
const partitions = 8
const startMs = Date.UTC(2026, 10, 20)

const directory = await mkdtemp(join(tmpdir(), 'ledgerline-export-'))
try {
  const store = await openStore({ directory: join(directory, 'data') })
  const log = embeddedLog(store, { partitions })
  await fill(log)
  print('read', await timed(async () => {
    let rows = 0
    for (const range of await historyRanges(log, history, {})) {
      for await (const block of historyOf(log, history, range, {})) rows += block.rows.length
    }
    return { rows }
  }))
  for (const format of historyFormats) {
    const out = join(directory, format)
    const options = { directory: out, history, format, filter: {} }
    const measured = await timed(async () => await exportDirectory(log, await historyRanges(log, history, {}), options))
    print(format, { ...measured, bytes: await bytesIn(out) })
  }
  await store.close()
} finally {
  await rm(directory, { recursive: true, force: true })
}

/** The only place that knows the product's modules. */
async function openProduct () {
  const modules = await Promise.all([
    import('../dist/evidence/history.js'),
    import('../dist/evidence/history/directory.js'),
    import('../dist/evidence/history/formats.js'),
    import('../dist/evidence/history/streams.js'),
    import('../dist/ledger/embedded/store.js'),
    import('../dist/ledger/embedded/log.js'),
    import('../dist/schemas/streams.js'),
  ])
  return Object.assign({}, ...modules)
}

async function fill (log) {
  for (let n = 0; n < rowsMax;) {
    const appends = []
    for (let partition = 0; partition < partitions; partition++) {
      const rows = Array.from({ length: Math.min(blockRows, rowsMax - n) }, () => rowOf(n++, partition))
      if (rows.length > 0) appends.push(log.append(connections, partition, rows))
    }
    await Promise.all(appends)
  }
}

/** Devices come back: 16 rows each, over a day. */
function rowOf (n, partition) {
  const device = Math.floor(n % (rowsMax / 16))
  const code = ['disconnected', 'connection-lost', 'heartbeat-timeout', 'migrating'][(n * 7919) % 11 % 4]
  const openedAtMs = startMs + Math.floor(n / rowsMax * 80_000_000)
  const id = number => Buffer.from(`${number * 2654435761 % 4294967296}`.padStart(12, '0')).toString('base64url')
  return {
    userId: `user-${device}-${partition}`,
    connectionId: id(n),
    deviceId: `d-${id(device)}`,
    platform: ['ios', 'android', 'web'][device % 3],
    client: `app/${1 + device % 4}.${device % 7}`,
    sessionId: id(device + 1),
    transport: device % 5 === 0 ? 'tcp' : 'ws',
    address: `10.${device % 200}.${n % 251}.${n % 241}:${1024 + n * 31 % 60000}`,
    nodeId: `node-${n % 4}`,
    nodeEpoch: startMs,
    openedAtMs,
    closedAtMs: openedAtMs + n * 7919 % 3_600_000,
    code,
    reason: '',
    writtenSeq: n % 5000,
    ackedSeq: n % 5000,
    framesIn: n * 31 % 900,
    framesOut: n * 37 % 1100,
    bytesIn: n * 131 % 90_000,
    bytesOut: n * 137 % 190_000,
    uplinks: n % 90,
    downlinksWritten: n % 110,
    downlinksAcked: n % 110,
    roundTripMs: n % 400 - 1,
    resumedFrom: n % 3 === 0 ? '' : id(n - 1),
    resumedTo: '',
    by: '',
  }
}

async function timed (run) {
  const beganMs = performance.now()
  const before = process.cpuUsage()
  const { rows } = await run()
  const seconds = (performance.now() - beganMs) / 1000
  const { user, system } = process.cpuUsage(before)
  const cpuSeconds = (user + system) / 1e6
  return { rows, seconds, cpuSeconds, perSecond: Math.round(rows / seconds) }
}

async function bytesIn (path) {
  let bytes = 0
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size
  }
  return bytes
}

function print (format, measured) {
  const rssBytes = process.memoryUsage().rss
  console.log(JSON.stringify({ format, ...measured, rssBytes }))
}
