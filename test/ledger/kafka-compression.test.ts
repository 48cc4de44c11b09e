import t, { type Test } from 'tap'
import { gzipSync } from 'node:zlib'
import { decompress, zstdWithoutNode } from '../../ledger/kafka/compression.js'

const text = Array(8).fill('hello').join(' ')
const [gzip, snappy, lz4, zstd] = [1, 2, 3, 4] as const
const bytesMax = 1 << 20

/** As the reference tools write it; where there are several, with and without their optional fields. */
const written = {
  gzip: [gzip, ['1f8b0800000000000003cb48cdc9c957c8209604006a762cb92f000000']],
  snappy: [snappy, ['2f1468656c6c6f20a20600']],
  'snappy in the framing of Java clients': [snappy, [
    '82534e415050590000000001000000010000000b2f1468656c6c6f20a20600',
    '82534e41505059000000000100000001' + '00000008061468656c6c6f20' + '0000000b291468656c6c6f208a0600',
  ]],
  lz4: [lz4, [
    '04224d186440a7100000006f68656c6c6f200600115068656c6c6f00000000a8f4e0c1',
    '04224d18604082100000006f68656c6c6f200600115068656c6c6f00000000',
    '04224d187440bd100000006f68656c6c6f200600115068656c6c6f8610ecb700000000a8f4e0c1',
    '04224d186c402f0000000000000058100000006f68656c6c6f200600115068656c6c6f00000000a8f4e0c1',
  ]],
  zstd: [zstd, [
    '28b52ffd04586500003068656c6c6f2001000295225ab1761b',
    '28b52ffd00586500003068656c6c6f200100029522',
    '28b52ffd242f6500003068656c6c6f2001000295225ab1761b',
  ]],
} as const

/** What is more than a MiB when it is decompressed, and says so or not. */
const bombs = {
  gzip: [gzip, gzipSync(Buffer.alloc(2 << 20))],
  'snappy that says its length': [snappy, Buffer.from('80808001' + '0061', 'hex')],
  'snappy in small blocks': [snappy, xerial(...Array(5).fill('808010' + '0061' + 'fe0100'.repeat(4095) + 'fa0100'))],
  'snappy of 4 GiB': [snappy, Buffer.from('ffffffff0f00', 'hex')],
  'lz4 in blocks of 4 MiB': [lz4, Buffer.from('04224d186070730020000' + '0'.repeat(0x4001) + '00000000', 'hex')],
  'zstd that runs on': [zstd, zstdOfZeros(20)],
  'zstd that says its length': [zstd, Buffer.from('28b52ffda0' + '00000080' + '010000', 'hex')],
  'zstd that wants a window of 2 GiB': [zstd, Buffer.from('28b52ffd00' + 'a8' + '01000061', 'hex')],
} as const

function xerial (...blocks: readonly string[]): Buffer {
  const parts = blocks.map(hex => Buffer.from(hex, 'hex')).flatMap(block => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    return [length, block]
  })
  return Buffer.concat([Buffer.from('82534e41505059000000000100000001', 'hex'), ...parts])
}

/** Blocks of 128 KiB, four bytes each: the zero that all their bytes are, and how many. */
function zstdOfZeros (blocks: number): Buffer {
  return Buffer.from('28b52ffd0058' + '02001000'.repeat(blocks - 1) + '03001000', 'hex')
}

t.test('records that another producer compressed', async t => {
  for (const [name, [codec, samples]] of Object.entries(written)) {
    await t.test(`with ${name} are read`, async t => {
      for (const hex of samples) t.equal(decompress(codec, Buffer.from(hex, 'hex'), bytesMax).toString(), text)
      if (codec !== zstd) return
      for (const hex of samples) t.equal(zstdWithoutNode(Buffer.from(hex, 'hex'), bytesMax).toString(), text)
    })
  }

  for (const [name, [codec, bytes]] of Object.entries(bombs)) {
    await t.test(`are refused in words where they are too large: ${name}`, async t => {
      t.throws(() => decompress(codec, bytes, bytesMax), { message: /^compression \w+: becomes more than 1 MiB$/ })
    })
  }

  await t.test('are as large as the bound at most', async t => {
    t.equal(decompress(zstd, zstdOfZeros(8), bytesMax).length, bytesMax)
    t.equal(zstdWithoutNode(zstdOfZeros(8), bytesMax).length, bytesMax)
    t.throws(() => zstdWithoutNode(zstdOfZeros(9), bytesMax), /more than 1 MiB/)
    t.equal(decompress(gzip, gzipSync(Buffer.alloc(bytesMax)), bytesMax).length, bytesMax)
  })

  await t.test('are refused in words where a byte is cut off or is another one, and never keep us', async t => {
    for (const [codec, samples] of Object.values(written)) {
      for (const hex of samples) {
        const bytes = Buffer.from(hex, 'hex')
        for (let length = 0; length < bytes.length; length++) outcome(t, codec, bytes.subarray(0, length))
        for (let at = 0; at < bytes.length; at++) {
          for (const byte of [0x00, 0x7f, 0x80, 0xff, bytes[at]! ^ 1]) {
            const other = Buffer.from(bytes)
            other[at] = byte
            outcome(t, codec, other)
          }
        }
      }
    }
  })

  await t.test('by a codec that Kafka does not have are refused in words', async t => {
    t.throws(() => decompress(5, Buffer.from('x'), bytesMax), {
      message: 'compression 5: want gzip, snappy, lz4, zstd or none',
    })
  })
})

/** Some bytes, no more than the bound, or an error that says of what. */
function outcome (t: Test, codec: number, bytes: Buffer): void {
  try {
    const { length } = decompress(codec, bytes, bytesMax)
    if (length > bytesMax) t.fail(`${length} bytes of ${bytes.toString('hex')}`)
  } catch (err) {
    if (!/^compression \w+: /.test((err as Error).message)) t.fail(err as Error)
  }
}
