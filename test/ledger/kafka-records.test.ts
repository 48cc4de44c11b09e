import t from 'tap'
import { createRequire } from 'node:module'
import { gzipSync } from 'node:zlib'
import { batchWriter, readBatches, stamp, type Headers } from '../../ledger/kafka/record-batch.js'

const require = createRequire(import.meta.url)
const Decoder = require('kafkajs/src/protocol/decoder')
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder')

const atMs = 1_700_000_000_000

function batchOf (...records: ReadonlyArray<readonly [key: string | null, value: string, headers?: Headers]>): Buffer {
  batchWriter.start()
  for (const [i, [key, value, headers = []]] of records.entries()) {
    batchWriter.add(i, key === null ? null : Buffer.from(key), Buffer.from(value), headers)
  }
  const batch = batchWriter.finish(records.length, atMs)
  stamp(batch, { producerId: 5n, producerEpoch: 1, sequence: 9 })
  return batch
}

/** As the broker stores it: with the offset that it gave. */
function at (offset: bigint, batch: Buffer): Buffer {
  const stored = Buffer.from(batch)
  stored.writeBigInt64BE(offset, 0)
  return stored
}

t.test('a batch of records', async t => {
  await t.test('is written byte for byte as the protocol says', async t => {
    t.equal(batchOf(['k', 'v', [['h', Buffer.from('x')]]]).toString('hex'), [
      '0000000000000000', '0000003e', '00000000', '02', '33311f50', '0000', '00000000',
      '0000018bcfe56800', '0000018bcfe56800', '0000000000000005', '0001', '00000009', '00000001',
      '18', '00', '00', '00', '026b', '0276', '02', '0268', '0278',
    ].join(''))
  })

  await t.test('is what kafkajs reads', async t => {
    const long = 'x'.repeat(70_000)
    const batch = batchOf(['k', 'v', [['h', Buffer.from('x')]]], [null, long])
    const { records, ...header } = await decodeBatch(new Decoder(batch))
    t.match(header, { producerId: '5', producerEpoch: 1, firstSequence: 9, lastOffsetDelta: 1 })
    t.match(records, [
      { key: Buffer.from('k'), value: Buffer.from('v'), headers: { h: Buffer.from('x') }, timestamp: `${atMs}` },
      { key: null, value: Buffer.from(long), headers: {}, offset: '1' },
    ])
  })

  await t.test('is read back from any offset in it', async t => {
    const bytes = Buffer.concat([at(10n, batchOf([null, 'a'], ['k', 'b'])), at(12n, batchOf([null, 'c']))])
    const textsFrom = (from: bigint) =>
      readBatches(bytes, from).records.map(({ offset, value }) => `${offset} ${value}`)
    t.strictSame(textsFrom(10n), ['10 a', '11 b', '12 c'])
    t.strictSame(textsFrom(11n), ['11 b', '12 c'])
    t.strictSame(textsFrom(12n), ['12 c'])
    t.equal(readBatches(bytes, 10n).next, 13n)
  })

  await t.test('is left for the next fetch where the answer cuts it off', async t => {
    const [first, second] = [at(0n, batchOf([null, 'a'])), at(1n, batchOf([null, 'b']))]
    for (let length = first.length; length < first.length + second.length; length++) {
      const { records, unreadable, next } = readBatches(Buffer.concat([first, second]).subarray(0, length), 0n)
      t.strictSame([records.length, unreadable.length, next], [1, 0, 1n])
    }
  })

  await t.test('that can not be read is set aside, and the next one is read', async t => {
    const plain = at(0n, batchOf([null, 'a'], [null, 'b']))
    const zstd = Buffer.from(plain)
    zstd.writeInt16BE(4, 21)
    const torn = Buffer.from(plain)
    torn[61] = 0x7e
    for (const [bad, reason] of [[zstd, /compression 4/], [torn, /length|missing/]] as const) {
      const { records, unreadable, next } = readBatches(Buffer.concat([bad, at(2n, batchOf([null, 'c']))]), 0n)
      t.strictSame(records.map(({ value }) => `${value}`), ['c'])
      t.match(unreadable, [{ offset: 0n, reason }])
      t.equal(next, 3n)
    }
  })

  await t.test('is read where another producer has compressed it with gzip', async t => {
    const plain = batchOf([null, 'a'], ['k', 'b'])
    const zipped = Buffer.concat([plain.subarray(0, 61), gzipSync(plain.subarray(61))])
    zipped.writeInt32BE(zipped.length - 12, 8)
    zipped.writeInt16BE(1, 21)
    t.strictSame(readBatches(zipped, 0n).records.map(({ value }) => `${value}`), ['a', 'b'])
  })

  await t.test('gets another stamp and checksum without a change to its records', async t => {
    const batch = batchOf([null, 'a'])
    const before = Buffer.from(batch)
    stamp(batch, { producerId: 6n, producerEpoch: 0, sequence: 0 })
    t.notSame(batch.subarray(17, 21), before.subarray(17, 21))
    stamp(batch, { producerId: 5n, producerEpoch: 1, sequence: 9 })
    t.strictSame(batch, before)
  })
})
