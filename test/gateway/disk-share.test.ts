import { writeFileSync } from 'node:fs'
import t from 'tap'
import { streamBytesMax } from '../../gateway/disk-share.js'
import { rejectedStream } from '../../ledger/rejected.js'
import { streams } from '../../ledger/streams.js'

const GiB = 2 ** 30

t.test('The bytes of streams', async t => {
  const names = streams.flatMap(stream => [stream.name, rejectedStream(stream).name])

  t.test('are all together a third of the room, most of it for what has payloads', async t => {
    const bytesMax = streamBytesMax(undefined, '', () => 60 * GiB)
    const all = names.reduce((sum, name) => sum + bytesMax(name)!, 0)
    t.ok(all <= 20 * GiB && all > 19.9 * GiB)
    t.equal(bytesMax('ledger'), bytesMax('uplinks'))
    t.ok(bytesMax('ledger')! > 5 * GiB)
    t.ok(names.every(name => bytesMax(name)! > 0))
  })

  t.test('are some on a disk that is full', async t => {
    t.ok(streamBytesMax(undefined, '', () => 0)('ledger')! > 4 << 20)
  })

  t.test('are counted with what the data file takes already, or each start would leave less', async t => {
    const directory = t.testdir({ 'data.mdb': '' })
    const before = streamBytesMax(undefined, directory)('ledger')!
    writeFileSync(`${directory}/data.mdb`, Buffer.alloc(8 << 20, 1), { flush: true })
    const after = streamBytesMax(undefined, directory)('ledger')!
    t.ok(Math.abs(after - before) < before / 10)
  })

  t.test('are what is configured for each stream, where it is', async t => {
    t.strictSame(names.map(streamBytesMax(5_000, '')), names.map(() => 5_000))
    t.strictSame(names.map(streamBytesMax(0, '')), names.map(() => undefined))
  })
})
