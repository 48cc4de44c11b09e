import { Readable } from 'node:stream'
import avsc from 'avsc'
import t from 'tap'
import { historyEncoder, type HistoryFormat } from '../../evidence/history/formats.js'
import type { ConnectionEnded } from '../../schemas/records.js'
import { ended } from './connection-rows.js'

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

t.test('The format', async t => {
  t.test('ndjson has a row a line', async t => {
    const lines = (await encode('ndjson', rows)).toString().split('\n')
    t.strictSame(lines.slice(0, -1).map(line => JSON.parse(line) as ConnectionEnded), rows)
    t.equal(lines.at(-1), '')
  })

  t.test('csv has a header, and quotes what RFC 4180 wants quoted', async t => {
    const text = (await encode('csv', rows)).toString()
    t.equal(text.split('\r\n')[0], Object.keys(rows[0]!).join(','))
    t.equal(text.split('\r\n')[1], Object.values(rows[0]!).join(','))
    t.match(text, '\r\n"bö""b",c2,bö"b-phone'.replace('bö"b-phone', '"bö""b-phone"'))
    t.match(text, ',"app,1",')
    t.match(text, ',"a ""quoted"", comma\r\nand more",')
    t.ok(text.endsWith('\r\n'))
  })

  t.test('avro is an object container file', async t => {
    const many = Array.from({ length: 5000 }, (_, n) => ended(`u${n}`, `c${n}`))
    const decoder = new avsc.streams.BlockDecoder()
    const found: unknown[] = []
    for await (const row of Readable.from([await encode('avro', [...rows, ...many])]).pipe(decoder)) found.push({ ...row })
    t.strictSame(found, [...rows, ...many])
  })

  for (const format of ['ndjson', 'csv', 'avro'] as const) {
    t.test(`${format} is whole without any row`, async t => {
      const bytes = await encode(format, [])
      t.equal(bytes.length > 0, format !== 'ndjson')
    })
  }
})

async function encode (format: HistoryFormat, rows: readonly ConnectionEnded[]): Promise<Buffer> {
  const encoder = await historyEncoder(format)
  const parts: Uint8Array[] = []
  for (let at = 0; at < rows.length; at += 7) parts.push(encoder.add(rows.slice(at, at + 7)))
  return Buffer.concat([...parts, encoder.end()])
}
