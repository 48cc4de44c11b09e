import { Readable } from 'node:stream'
import avsc from 'avsc'
import t from 'tap'
import { historyEncoder, type HistoryFormat } from '../../evidence/history/formats.js'
import { connectionRow, type HistoryRow } from '../../evidence/history/row.js'
import { connectionHistory, type HistoryStream } from '../../evidence/history/streams.js'
import { prose } from '../../evidence/history/text.js'
import { userKey } from '../../schemas/apps.js'
import { countNames } from '../../schemas/counts.js'
import { ended, lost } from './connection-rows.js'

const odd = ended('bö"b', 'c2', {
  client: 'app,1',
  reason: 'a "quoted", comma\r\nand more',
  platform: '',
  roundTripMs: -1,
  bytesIn: 2 ** 52,
  transport: 'tcp',
  resumedFrom: 'c1',
})
const rows = [ended('ann', 'c1'), odd]
/** What the ledger tells of it is known. */
const gone = connectionRow(lost('ann', 'c3', { uplinks: 2, writtenSeq: 7 }))

t.test('The format', async t => {
  t.test('ndjson has a row a line', async t => {
    const lines = (await encode('ndjson', rows)).toString().split('\n')
    t.strictSame(lines.slice(0, -1).map(line => JSON.parse(line) as HistoryRow), rows)
    t.equal(lines.at(-1), '')
  })

  t.test('csv has a header, and quotes what RFC 4180 wants quoted', async t => {
    const text = (await encode('csv', rows)).toString()
    t.equal(text.split('\r\n')[0], `${Object.keys(rows[0]!).filter(name => name !== 'by').join(',')},app,by`)
    t.equal(text.split('\r\n')[1], `${Object.values(rows[0]!).join(',')},`)
    t.match(text, '\r\n"bö""b",c2,bö"b-phone'.replace('bö"b-phone', '"bö""b-phone"'))
    t.match(text, ',"app,1",')
    t.match(text, ',"a ""quoted"", comma\r\nand more",')
    t.ok(text.endsWith('\r\n'))
  })

  t.test('avro is an object container file', async t => {
    const many = Array.from({ length: 5000 }, (_, n) => ended(`u${n}`, `c${n}`))
    t.strictSame(await rowsOf(await encode('avro', [...rows, ...many])), [...rows, ...many])
  })

  t.test('avro makes room for a row of any size', async t => {
    const large = ended('ann', 'c1', { reason: 'x'.repeat(100_000) })
    t.strictSame(await rowsOf(await encode('avro', [large, ...rows])), [large, ...rows])
  })

  t.test('says null, or nothing in csv, for what nobody knows', async t => {
    t.match(gone, { uplinks: 2, writtenSeq: 7, ackedSeq: null, framesIn: null, bytesOut: null, roundTripMs: null })
    t.strictSame(JSON.parse((await encode('ndjson', [gone])).toString()), gone)
    t.match((await encode('csv', [gone])).toString(), /,node-lost,,7,,,,,,2,,,,,,,\r\n$/)
    t.strictSame(await rowsOf(await encode('avro', [gone, ...rows])), [gone, ...rows])
  })

  t.test('has null for the zeros that earlier versions wrote of a lost node', async t => {
    const zeros = Object.fromEntries(countNames.map(name => [name, 0]))
    const nulls = Object.fromEntries(countNames.map(name => [name, null]))
    const old = ended('ann', 'c1', { code: 'node-lost', ...zeros, roundTripMs: -1 })
    t.strictSame(connectionRow(old), { ...old, ...nulls, roundTripMs: null })
    const told = ended('ann', 'c1', { ...zeros, roundTripMs: -1 })
    t.strictSame(connectionRow(told), told, 'and no other')
  })

  t.test('says whose user it is, by the app and the id within it', async t => {
    const ofShop = connectionRow({ ...ended('ann', 'c9'), userId: userKey('shop', 'ann') })
    t.strictSame(ofShop, { ...ended('ann', 'c9'), app: 'shop' })
    t.match(connectionRow(lost(userKey('shop', 'ann'), 'c9')), { userId: 'ann', app: 'shop', framesIn: null })
    t.strictSame(JSON.parse((await encode('ndjson', [ofShop])).toString()), ofShop)
    t.match((await encode('csv', [ofShop])).toString(), /\r\nann,c9,.*,shop,\r\n$/)
    t.strictSame(await rowsOf(await encode('avro', [ofShop, ...rows])), [ofShop, ...rows])
    const encoder = prose(connectionHistory)
    t.match(Buffer.concat([encoder.add([ofShop]), encoder.end()]).toString(), ' shop/ann/')
  })

  for (const format of ['ndjson', 'csv', 'avro'] as const) {
    t.test(`${format} is whole without any row`, async t => {
      const bytes = await encode(format, [])
      t.equal(bytes.length > 0, format !== 'ndjson')
    })
  }
})

async function rowsOf (avro: Buffer): Promise<unknown[]> {
  const decoder = new avsc.streams.BlockDecoder()
  const found: unknown[] = []
  for await (const { app, ...row } of Readable.from([avro]).pipe(decoder)) found.push(app === '' ? row : { ...row, app })
  return found
}

async function encode (
  format: HistoryFormat, rows: readonly HistoryRow[], history: HistoryStream = connectionHistory
): Promise<Buffer> {
  const encoder = await historyEncoder(format, history)
  const parts: Uint8Array[] = []
  for (let at = 0; at < rows.length; at += 7) parts.push(encoder.add(rows.slice(at, at + 7)))
  return Buffer.concat([...parts, encoder.end()])
}
