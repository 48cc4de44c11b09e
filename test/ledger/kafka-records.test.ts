import t from 'tap'
import { createRequire } from 'node:module'
import { gzipSync } from 'node:zlib'
import { crc32c, crc32cByTables } from '../../ledger/kafka/crc32c.js'
import { batchWriter, readBatches, stamp, type Headers, type StoredRecords } from '../../ledger/kafka/record-batch.js'

const require = createRequire(import.meta.url)
const Decoder = require('kafkajs/src/protocol/decoder')
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder')
const kafkajsCrc32c = require('kafkajs/src/protocol/recordBatch/crc32C')

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

/** With other attributes, or what a test has done to its records, and the length and checksum that belong to that. */
function sealed (batch: Buffer, attributes = batch.readInt16BE(21)): Buffer {
  const bytes = Buffer.from(batch)
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes.writeInt16BE(attributes, 21)
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17)
  return bytes
}

const inTransaction = 0x10
const control = 0x20

function marker (type: 'abort' | 'commit', producerId: bigint): Buffer {
  batchWriter.start()
  batchWriter.add(0, Buffer.from(type === 'abort' ? '00000000' : '00000001', 'hex'), Buffer.alloc(6), [])
  const batch = batchWriter.finish(1, atMs)
  batch.writeBigInt64BE(producerId, 43)
  return sealed(batch, inTransaction | control)
}

function by (producerId: bigint, batch: Buffer): Buffer {
  const bytes = Buffer.from(batch)
  bytes.writeBigInt64BE(producerId, 43)
  return sealed(bytes, inTransaction)
}

function textsOf ({ records }: StoredRecords): string[] {
  return records.map(({ offset, value }) => `${offset} ${value}`)
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
    const textsFrom = (from: bigint) => textsOf(readBatches(bytes, from))
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
    const unknown = sealed(plain, 5)
    const zstd = sealed(plain, 4)
    const torn = Buffer.from(plain)
    torn[61] = 0x7e
    const endless = Buffer.from(plain)
    endless.writeInt32BE(0x7fffffff, 57)
    const older = Buffer.from(plain)
    older[16] = 1
    for (const [bad, reason] of [
      [unknown, /^compression 5: want gzip, snappy, lz4, zstd or none$/], [zstd, /^compression zstd: /],
      [sealed(torn), /length|missing/], [sealed(endless), /got 2147483647 records, want at most/],
      [older, 'record format 1, want 2'],
    ] as const) {
      const { records, unreadable, next } = readBatches(Buffer.concat([bad, at(2n, batchOf([null, 'c']))]), 0n)
      t.strictSame(records.map(({ value }) => `${value}`), ['c'])
      t.match(unreadable, [{ offset: 0n, reason }])
      t.equal(next, 3n)
    }
  })

  await t.test('is read where another producer has compressed it with gzip', async t => {
    const plain = batchOf([null, 'a'], ['k', 'b'])
    const zipped = sealed(Buffer.concat([plain.subarray(0, 61), gzipSync(plain.subarray(61))]), 1)
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

  await t.test('with a wrong checksum is set aside, whichever byte is another one, and nothing behind it', async t => {
    const plain = at(7n, batchOf([null, 'a'], [null, 'b']))
    for (let i = 17; i < plain.length; i++) {
      const bad = Buffer.from(plain)
      bad[i]! ^= 0x10
      const { records, unreadable, next } = readBatches(Buffer.concat([bad, at(9n, batchOf([null, 'c']))]), 7n)
      t.strictSame(records.map(({ value }) => `${value}`), ['c'])
      t.match(unreadable, [{ offset: 7n, reason: /^its checksum is wrong: got [0-9a-f]{8}, want [0-9a-f]{8}$/ }])
      t.equal(next, 10n)
      const alone = readBatches(bad, 7n)
      t.ok(alone.next > 7n && alone.next <= 9n, 'nothing is skipped that is not in it, and nothing stands still')
    }
  })

  await t.test('has the checksum that kafkajs makes of it, however long it is', async t => {
    const bytes = Buffer.from(Array.from({ length: 700 }, (_, i) => (i * 7919) >> 3 & 0xff))
    t.equal(crc32c(Buffer.from('123456789')), 0xe3069283, 'the check value of the algorithm')
    for (let start = 0; start < bytes.length; start++) {
      const part = bytes.subarray(start)
      t.strictSame([crc32c(part), crc32cByTables(part)], [kafkajsCrc32c(part), kafkajsCrc32c(part)])
    }
  })

  await t.test('tells of the leader that it was written under', async t => {
    const batch = batchOf([null, 'a'])
    batch.writeInt32BE(12, 12)
    t.equal(readBatches(batch, 0n).epoch, 12)
    t.equal(readBatches(batch, 1n).epoch, -1, 'only where it is read')
  })
})

t.test('compressed batches of one answer', async t => {
  const plain = batchOf([null, 'x'.repeat(1_000_000)])
  const zipped = sealed(Buffer.concat([plain.subarray(0, 61), gzipSync(plain.subarray(61))]), 1)
  const bytes = Buffer.concat(Array.from({ length: 50 }, (_, i) => at(BigInt(i), zipped)))

  await t.test('become no more than the bound together, and the others come with the next one', async t => {
    let next = 0n
    for (let answers = 0; next < 50n; answers++) {
      if (answers > 3) return t.fail('too many answers')
      const read = readBatches(bytes.subarray(Number(next) * zipped.length), next)
      t.ok(read.inflatedBytes > 0 && read.inflatedBytes < 34 << 20)
      t.equal(read.next, next + BigInt(read.records.length))
      t.strictSame(read.unreadable, [])
      next = read.next
    }
  })

  await t.test('wait where others have used it up, while those behind no compression are read', async t => {
    const mixed = Buffer.concat([at(0n, batchOf([null, 'a'])), at(1n, zipped)])
    const { records, next } = readBatches(mixed, 0n, { inflatedBytesMax: 0 })
    t.strictSame([records.length, next], [1, 1n])
  })
})

t.test('a transaction', async t => {
  const a = (text: string) => by(1n, batchOf([null, text]))
  const b = (text: string) => by(2n, batchOf([null, text]))
  const log = (...batches: readonly Buffer[]) => Buffer.concat(batches.map((batch, i) => at(BigInt(i), batch)))

  await t.test('that was given up is left out, from its first record to its marker, and nothing else', async t => {
    const bytes = log(a('a1'), marker('commit', 1n), b('b2'), a('a3'), batchOf([null, 'plain 4']), a('a5'),
      marker('abort', 1n), a('a7'), marker('commit', 2n), marker('commit', 1n))
    const aborted = [{ producerId: 1n, firstOffset: 3n }]
    t.strictSame(textsOf(readBatches(bytes, 0n, { aborted })), ['0 a1', '2 b2', '4 plain 4', '7 a7'])
    t.equal(readBatches(bytes, 0n, { aborted }).next, 10n, 'past the last marker')
  })

  await t.test('that was given up is left out where reading begins in it', async t => {
    const bytes = log(a('a0'), a('a1'), marker('abort', 1n), a('a3'), marker('commit', 1n)).subarray(a('a0').length)
    const aborted = [{ producerId: 1n, firstOffset: 0n }]
    t.strictSame(textsOf(readBatches(bytes, 1n, { aborted })), ['3 a3'])
  })

  await t.test('of the same producer that was given up again is left out as well, in whatever order they are named', async t => {
    const bytes = log(a('a0'), marker('abort', 1n), b('b2'), a('a3'), marker('abort', 1n), b('b5'), marker('abort', 2n))
    const aborted = [
      { producerId: 1n, firstOffset: 3n }, { producerId: 2n, firstOffset: 2n }, { producerId: 1n, firstOffset: 0n },
    ]
    t.strictSame(readBatches(bytes, 0n, { aborted }), {
      records: [], unreadable: [], next: 7n, epoch: 0, inflatedBytes: 0,
    })
  })

  await t.test('has markers that compaction emptied', async t => {
    const empty = sealed(marker('abort', 1n).subarray(0, 61))
    empty.writeInt32BE(0, 57)
    t.strictSame(textsOf(readBatches(log(sealed(empty), a('a1')), 0n)), ['1 a1'])
  })
})
