import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import avsc from 'avsc'
import t, { type Test } from 'tap'
import { historyEncoder } from '../../evidence/history/formats.js'
import { historyStreams } from '../../evidence/history/streams.js'
import { userKey } from '../../schemas/apps.js'
import type { DownlinkHandedOver, DownlinkSettled, PresenceChanged } from '../../schemas/records.js'
import { offline, presence, receipts, type RecordStream } from '../../schemas/streams.js'
import { historyLog, noon } from './connection-rows.js'
import { files, history, parquet } from './history-command.js'

const dayMs = 86_400_000
/** Is no UTF-8. */
const bytes = Buffer.from([0xff, 0x00, 0x2c])

const changes: PresenceChanged[] = [
  changed('ann', 1, { atMs: noon }),
  changed('bob', 1, { atMs: noon + 5, platform: '' }),
  changed('ann', 2, { change: 'offline', cause: 'connection-lost', atMs: noon + dayMs }),
  changed(userKey('shop', 'ann'), 1, { atMs: noon + dayMs + 1, userChanged: false }),
]
const settled: DownlinkSettled[] = [
  receipt('ann', 1, { settledAtMs: noon + 80 }),
  receipt('bob', 1, { settledAtMs: noon + 90, outcome: 'dropped', reason: 'recalled', deviceId: '', seq: 0 }),
  receipt('ann', 2, { settledAtMs: noon + dayMs, outcome: 'skipped', reason: 'application-failed' }),
  receipt(userKey('shop', 'ann'), 1, { settledAtMs: noon + dayMs + 1, messageId: 'a "quoted", one' }),
]
const handedOver: DownlinkHandedOver[] = [
  due('ann', 1, { atMs: noon + 15_000, deviceIds: ['phone', 'tablet, "old"'] }),
  due('bob', 1, { atMs: noon + 15_001, payload: bytes, deviceIds: [] }),
  due('ann', 2, { atMs: noon + dayMs, change: 'withdrawn', payload: Buffer.alloc(0), reason: 'acked' }),
  due(userKey('shop', 'ann'), 1, { atMs: noon + dayMs + 1 }),
]

/** What all of them have as a row, whatever the format. */
const cases: readonly [stream: RecordStream<any>, records: readonly any[]][] = [
  [presence, changes], [receipts, settled], [offline, handedOver],
]

for (const [stream, records] of cases) {
  t.test(`history --stream ${stream.name}`, async t => {
    const rows = records.map(shown)
    const columns = (stream.schema as unknown as { fields: { name: string }[] }).fields.map(({ name }) => name)

    t.test('has every field in every format', async t => {
      const { directory, data } = await given(t, stream, records)
      const out = (format: string) => join(directory, `all.${format}`)
      for (const format of ['ndjson', 'csv', 'avro', 'parquet']) {
        t.match(await history(data, '--stream', stream.name, '--out', out(format)), /^4 [a-z-]+s in 1 new file: /)
      }
      t.strictSame(sorted(linesOf(await readFile(out('ndjson'), 'utf8'))), sorted(rows))
      const [header, ...csv] = csvOf(await readFile(out('csv'), 'utf8'))
      t.strictSame(header, columns)
      t.strictSame(csv.sort(), rows.map(row => columns.map(name => inCsv(name, row[name]))).sort())
      t.strictSame(sorted(await avroRows(await readFile(out('avro')))), sorted(rows))
      const [{ types }, ...found] = await parquet(out('parquet'))
      t.match(types, { userId: 'BYTE_ARRAY UTF8', [timeOf(stream.name)]: 'INT64 TIMESTAMP_MILLIS' })
      t.strictSame(sorted(found.map(fromParquet)), sorted(rows))
    })

    t.test('into a directory is by day, adds what is new, leaves repeats out, and is of this stream alone', async t => {
      const { directory, data, append } = await given(t, stream, records.slice(0, 3))
      const out = join(directory, 'out/')
      const args = ['--stream', stream.name, '--out', out]
      await history(data, ...args)
      const days = async () => [...new Set((await files(out)).map(path => path.split('/')[0]))]
      t.strictSame(await days(), ['day=2026-11-20', 'day=2026-11-21'])
      const before = await files(out)
      await append([records[2], records[3]])
      t.match(JSON.parse(await history(data, ...args, '--json')), { stream: stream.name, rows: 1, files: 1, repeats: 1 })
      const after = await files(out)
      t.strictSame(after.filter(path => before.includes(path)), before)
      const [, ...found] = await parquet(...after.map(path => join(out, path)))
      t.strictSame(sorted(found.filter(row => !('groups' in row)).map(fromParquet)), sorted(rows))
      await t.rejects(history(data, '--out', out), {
        code: 2, stderr: new RegExp(`it has ${stream.name} of all users in it, as parquet; give another directory`),
      })
    })

    t.test('has those of a user, of an app and of a while', async t => {
      const { data } = await given(t, stream, records)
      const found = async (...options: string[]) =>
        sorted(linesOf(await history(data, '--stream', stream.name, '--json', ...options)))
      t.strictSame(await found('--user', 'ann'), sorted([rows[0], rows[2]]))
      t.strictSame(await found('--app', 'shop'), sorted([rows[3]]))
      t.strictSame(await found('--since', '2026-11-20T00:00Z', '--until', '2026-11-21T00:00Z'), sorted(rows.slice(0, 2)))
    })
  })
}

t.test('an earlier export, whose state names no stream, goes on as one of connections', async t => {
  const { directory, data } = await given(t, presence, changes)
  const out = join(directory, 'out/')
  const state = { version: 1, format: 'parquet', next: {}, rows: 0, drafts: [] }
  await mkdir(out)
  await writeFile(join(out, '_ledgerline.json'), JSON.stringify(state))
  t.match(await history(data, '--out', out), '0 connections in 0 new files')
  await t.rejects(history(data, '--stream', 'presence', '--out', out), { code: 2, stderr: /it has connections of all users/ })
})

t.test('--code chooses receipts as it does connections, and nothing else', async t => {
  const { data } = await given(t, receipts, settled)
  const ids = async (code: string) =>
    linesOf(await history(data, '--stream', 'receipts', '--code', code, '--json')).map(({ userId, receiptSeq }) => [userId, receiptSeq])
  t.strictSame(await ids('recalled'), [['bob', 1]])
  t.strictSame((await ids('acked')).length, 2)
  const refused: [string[], RegExp][] = [
    [['--stream', 'presence', '--code', 'kicked'], /--code: nothing in presence ends with one, want --stream connections or receipts/],
    [['--stream', 'offline', '--code', 'acked'], /--code: nothing in offline ends with one/],
    [['--stream', 'receipts', '--code', 'lost'], /--code: got "lost", want acked or a code of docs\/errors.md/],
    [['--code', 'acked'], /--code: got "acked", want a code of docs\/errors.md/],
    [['--stream', 'uplinks'], /--stream.*uplinks.*connections, presence, receipts, offline/],
    [['--stream', 'receipts', '--code', 'acked', '--out', 'out/'], /--code: a directory is of all codes/],
  ]
  for (const [options, stderr] of refused) await t.rejects(history(data, ...options), { code: 2, stderr }, options.join(' '))
})

t.test('for people there is a line for each', async t => {
  const lines = async (stream: RecordStream<any>, records: readonly any[]) => {
    const { data } = await given(t, stream, records)
    return await history(data, '--stream', stream.name, '--partition', '0') +
      await history(data, '--stream', stream.name, '--partition', '1')
  }
  const ofPresence = await lines(presence, changes)
  t.match(ofPresence, '2026-11-20T12:00:00.000Z  ann/ann-phone (ios)  online, and the user with it  c1  connected\n')
  t.match(ofPresence, '2026-11-21T12:00:00.001Z  shop/ann/ann-phone (ios)  online  c1  connected\n')
  const ofReceipts = await lines(receipts, settled)
  t.match(ofReceipts, '2026-11-20T12:00:00.080Z  ann/ann-phone  m1 (orders)  0.1 s  acked\n')
  t.match(ofReceipts, '2026-11-20T12:00:00.090Z  bob  m1 (orders)  0.1 s  dropped: recalled\n')
  const ofOffline = await lines(offline, handedOver)
  t.match(ofOffline, '2026-11-20T12:00:15.000Z  ann  m1 (orders)  15.0 s  due for phone, tablet, "old"\n')
  t.match(ofOffline, '2026-11-21T12:00:00.000Z  ann  m2 (orders)  86400.0 s  withdrawn for phone: acked\n')
})

t.test('a Parquet file with large payloads has smaller row groups, for each is in memory', async t => {
  const directory = t.testdir()
  const encoder = await historyEncoder('parquet', historyStreams['offline']!)
  const payload = Buffer.alloc(1 << 20, 1)
  const rows = Array.from({ length: 40 }, (_, n) => due('ann', n + 1, { payload }))
  await writeFile(join(directory, 'x.parquet'), Buffer.concat([encoder.add(rows), encoder.end()]))
  const [{ groups }] = await parquet(join(directory, 'x.parquet'))
  t.strictSame(groups, [16, 16, 8])
})

function changed (userId: string, presenceSeq: number, more: Partial<PresenceChanged>): PresenceChanged {
  return {
    userId,
    presenceSeq,
    deviceId: 'ann-phone',
    platform: 'ios',
    connectionId: `c${presenceSeq}`,
    change: 'online',
    userChanged: true,
    cause: 'connected',
    atMs: noon,
    ...more,
  }
}

function receipt (userId: string, receiptSeq: number, more: Partial<DownlinkSettled>): DownlinkSettled {
  return {
    userId,
    receiptSeq,
    messageId: `m${receiptSeq}`,
    service: 'orders',
    deviceId: 'ann-phone',
    seq: receiptSeq,
    outcome: 'acked',
    reason: '',
    requestedAtMs: noon,
    settledAtMs: noon,
    ...more,
  }
}

function due (userId: string, offlineSeq: number, more: Partial<DownlinkHandedOver>): DownlinkHandedOver {
  return {
    userId,
    offlineSeq,
    change: 'due',
    messageId: `m${offlineSeq}`,
    service: 'orders',
    payload: Buffer.from('shipped'),
    deviceIds: ['phone'],
    reason: '',
    requestedAtMs: noon,
    expiresAtMs: noon + dayMs,
    atMs: noon,
    ...more,
  }
}

/** A data directory of two partitions that nobody has open. */
async function given (t: Test, stream: RecordStream<any>, records: readonly any[]) {
  const directory = t.testdir()
  const data = join(directory, 'data')
  const append = async (records: readonly any[]) => {
    const { append, clock, close } = await historyLog(t, data)
    for (const record of records) {
      clock.nowMs = (record.atMs ?? record.settledAtMs) + 500
      await append([record], stream)
    }
    await close()
  }
  await append(records)
  return { directory, data, append }
}

/** As NDJSON has a record. */
function shown (record: any): any {
  const [userId, app] = record.userId.includes('\x1f') ? ['ann', { app: 'shop' }] : [record.userId, {}]
  const payload = 'payload' in record ? { payload: asJson(record.payload) } : {}
  return { ...record, userId, ...payload, ...app }
}

function asJson (payload: Uint8Array): unknown {
  return bytes.equals(payload) ? { base64: '/wAs' } : Buffer.from(payload).toString()
}

function inCsv (name: string, value: any = ''): string {
  if (name === 'payload') return value.base64 ?? Buffer.from(value).toString('base64')
  return Array.isArray(value) ? JSON.stringify(value) : `${value}`
}

/** Fields of RFC 4180. */
function csvOf (text: string): string[][] {
  return text.split('\r\n').slice(0, -1).map(line =>
    [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain!))
}

async function avroRows (file: Buffer): Promise<any[]> {
  const found = []
  for await (const row of Readable.from([file]).pipe(new avsc.streams.BlockDecoder())) found.push(plain({ ...row }))
  return found
}

function fromParquet (row: Record<string, any>): any {
  const fields = Object.entries(row).map(([name, value]) => {
    if (name === 'payload') return [name, Buffer.from(value.base64, 'base64')]
    return /^at$|At$/.test(name) ? [`${name}Ms`, Date.parse(value)] : [name, value]
  })
  return plain(Object.fromEntries(fields))
}

function plain ({ app, ...row }: any): any {
  return { ...row, ...'payload' in row ? { payload: asJson(row.payload) } : {}, ...app === '' ? {} : { app } }
}

function timeOf (stream: string): string { return stream === 'receipts' ? 'settledAt' : 'at' }

function linesOf (ndjson: string): any[] {
  return ndjson.split('\n').slice(0, -1).map(line => JSON.parse(line) as unknown)
}

/** Comparable, whatever the order of rows and fields. */
function sorted (rows: readonly any[]): string[] {
  return rows.map(row => JSON.stringify(Object.entries(row).sort(([a], [b]) => a < b ? -1 : 1))).sort()
}
