import t from 'tap'
import { takeFrames } from '../../../gateway/edge/tcp-frames.js'
import { GatewayError } from '../../../schemas/errors.js'
import type { Frame } from '../../../schemas/frames.js'
import { mutate } from '../../schemas/mutations.js'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** ping, uplink 1 `hi`, disconnect */
const three = hex('00000003 08 00 00  00000008 03 02 00 04 6869 00 00  00000002 0f 01')

function taken (bytes: Buffer, frameBytesMax = 64) {
  const frames: Frame[] = []
  const rest = takeFrames(bytes, frameBytesMax, frames)
  return { ops: frames.map(({ op }) => op), frames, ...rest }
}

t.test('takeFrames', async t => {
  t.test('takes all frames of one read', async t => {
    const { frames, partial, error } = taken(three)
    t.strictSame(frames, [
      { op: 'ping', downlinkSeq: 0, silentMs: 0 },
      { op: 'uplink', seq: 1, service: '', payload: Buffer.from('hi'), priority: 0, roomId: '' },
      { op: 'disconnect', endSession: true },
    ])
    t.equal(partial, undefined)
    t.equal(error, undefined)
  })

  t.test('leaves the frame that is not whole, and says how long it will be', async t => {
    t.match(taken(three.subarray(0, 3)), { ops: [], partial: hex('000000'), partialBytes: 0 })
    t.match(taken(three.subarray(0, 9)), { ops: ['ping'], partial: hex('0000'), partialBytes: 0 })
    t.match(taken(three.subarray(0, 11)), { ops: ['ping'], partial: hex('00000008'), partialBytes: 12 })
    t.match(taken(three.subarray(0, 17)), { ops: ['ping'], partial: hex('00000008 03 02 00 04 6869'), partialBytes: 12 })
  })

  t.test('refuses a length out of bounds, and keeps what came before it', async t => {
    for (const length of ['00000000', '00000041', 'ffffffff']) {
      const { ops, error, partial } = taken(Buffer.concat([hex('00000003 08 00 00'), hex(length), Buffer.alloc(100, 8)]))
      t.strictSame(ops, ['ping'])
      t.equal(error?.code, 'bad-frame')
      t.equal(partial, undefined)
    }
    const longest = Buffer.concat([hex('00000040 03 02 00 74'), Buffer.alloc(58, 0x61), hex('00 00')])
    t.strictSame(taken(longest).ops, ['uplink'])
  })

  t.test('throws nothing, whatever the bytes, and never reads past them', async t => {
    for (let seed = 1; seed <= 200_000; seed++) {
      const bytes = mutate(seed)(three)
      const { frames, partial, partialBytes, error } = taken(bytes)
      const wrong = (what: string) => { t.fail(`seed ${seed}: ${what}, ${bytes.toString('hex')}`) }
      if (error && !(error instanceof GatewayError && error.code === 'bad-frame')) wrong(`error ${error}`)
      if (error && partial) wrong('goes on after an error')
      if (partial && partialBytes > 0 && partialBytes <= partial.length) wrong('left a whole frame')
      if (frames.length > bytes.length / 5) wrong('more frames than there can be')
    }
  })
})
