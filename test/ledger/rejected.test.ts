import avsc from 'avsc'
import t from 'tap'
import { commandBytes, commandOf } from '../../ledger/rejected.js'
import { loadSchema } from '../../schemas/avsc-files.js'
import type { DownlinkRecord } from '../../schemas/records.js'

const command: DownlinkRecord = {
  messageId: 'm1',
  userIds: ['ann', 'bob'],
  service: 'news',
  payload: Buffer.from('hi'),
  ttlMs: 5,
  delivery: 'signal',
  platforms: ['ios'],
  exceptDevices: ['tv'],
  devices: [],
  app: '',
  roomId: '',
  receipts: true,
  offlineAfterMs: -1,
  replaces: '',
}

t.test('A command that is set aside', async t => {
  t.test('says by which schema it is written', async t => {
    const replacing = { ...command, replaces: 'm0' }
    const bytes = commandBytes(replacing)
    t.equal(bytes.subarray(0, 10).toString('hex'), 'c30125f418373d4a1079')
    t.strictSame(commandOf(bytes), replacing)
  })
  for (const version of [1, 2, 3, 4, 5]) {
    t.test(`is read as the version before wrote it, without a header, by schema ${version}`, async t => {
      const bytes = avsc.Type.forSchema(loadSchema(`history/downlinks-${version}`) as avsc.Schema).toBuffer(command)
      t.strictSame(commandOf(bytes), command)
    })
  }
  t.test('is none where it can not be read', async t => {
    for (const bytes of ['', '00', 'c301', 'ff', '00000000010203']) t.equal(commandOf(Buffer.from(bytes, 'hex')), undefined, bytes)
  })
})
