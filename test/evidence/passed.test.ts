import t from 'tap'
import type { Test } from 'tap'
import { audit } from '../../evidence/audit.js'
import { inquire } from '../../evidence/inquiry.js'
import { stateAt } from '../../evidence/state.js'
import { anew, BlocksGone, readWhole } from '../../evidence/whole.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import type { LogReader } from '../../ledger/log.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import { ledger } from '../../schemas/streams.js'
import { opened } from '../facts.js'

/** A ledger of one partition with a session's uplinks, whose retention deletes up to block 3 when somebody reads it. */
async function givenPassed (t: Test, times = 1) {
  let keptFrom = 0n
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const streams = { [ledger.name]: { partitions: 1, retentionMs: -1, keepFrom: () => keptFrom } }
  const log = embeddedLog(store, { partitions: 1, streams, sweepMs: 3_600_000 })
  const uplinks = Array.from({ length: 9 }, (_, i): Fact => ({
    type: 'UplinkReceived', connectionId: 'c1', seq: i + 1, service: '', priority: 0, roomId: '', payload: Buffer.from('hello'),
  }))
  const entries = [opened('c1'), ...uplinks].map((fact, i): Entry => ({ userId: 'ann', atMs: 1_000 + i, fact }))
  for (const entry of entries) await log.append(ledger, 0, [entry])
  const reader: LogReader = {
    partitions: stream => log.partitions(stream),
    bounds: (stream, partition) => log.bounds(stream, partition),
    offsetAt: (stream, partition, atMs) => log.offsetAt(stream, partition, atMs),
    async * read (stream, partition, range) {
      for await (const block of log.read(stream, partition, range)) {
        if (stream.name === ledger.name && times-- > 0) {
          keptFrom = block.offset + 3n
          await log.sweep()
        }
        yield block
      }
    },
  }
  return { log, reader, userId: entries[0]!.userId }
}

t.test('Evidence that retention passes', async t => {
  t.test('is never made of what is left', async t => {
    const { reader } = await givenPassed(t)
    const read = readWhole(reader, ledger, 0, { from: 0n })
    t.match(await read.next(), { value: { offset: 0n } })
    await t.rejects(read.next(), { code: 'not-ready', message: /^ledger: the blocks from 0@1 to 0@2 were deleted/ })
  })

  t.test('is made anew from what is kept then: a state', async t => {
    const { reader, userId } = await givenPassed(t)
    t.match(await stateAt(reader, userId), { knownSince: { position: '0@3' }, asOf: { position: '0@9.0' } })
  })

  t.test('is made anew from what is kept then: a trace', async t => {
    const { reader, userId } = await givenPassed(t, 2)
    const { verdict } = await inquire(reader, userId, { messageId: 'm1' })
    t.match(verdict, { code: 'not-kept', text: /begins at/ })
  })

  t.test('ends an audit with the place, and with no violation', async t => {
    const { reader } = await givenPassed(t)
    const violations: unknown[] = []
    await t.rejects(audit(reader, { exact: true, violation: one => { violations.push(one) } }), { message: /0@1 to 0@2/ })
    t.strictSame(violations, [])
  })

  t.test('gives up where it is passed again and again', async t => {
    let attempts = 0
    await t.rejects(anew(async () => {
      attempts++
      throw new BlocksGone(ledger, 0, { from: 1n, to: 2n })
    }), { code: 'not-ready' })
    t.equal(attempts, 5)
    await t.rejects(anew(async () => { throw new Error('something else') }), { message: 'something else' })
  })
})
