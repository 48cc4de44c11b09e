import { open as openFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { embeddedLog, type EmbeddedLogOptions } from '../../ledger/embedded/log.js'
import type { RejectedAt } from '../../ledger/rejected.js'
import { openStore } from '../../ledger/embedded/store.js'
import { rejectedStream } from '../../ledger/rejected.js'
import { collect, collector, note, notes, noteStream, until } from './log-contract.js'

async function openedLog (t: Test, directory: string, options: EmbeddedLogOptions = {}) {
  const damages: RejectedAt[] = []
  const store = await openStore({ directory, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions: 4, onDamage: damage => damages.push(damage), ...options })
  return { store, log, damages }
}

/** Changes one byte of `text` wherever it stands in the data file. */
async function damage (directory: string, text: string): Promise<void> {
  const path = join(directory, 'data.mdb')
  const bytes = await readFile(path)
  const file = await openFile(path, 'r+')
  for (let at = bytes.indexOf(text); at !== -1; at = bytes.indexOf(text, at + 1)) await file.write('#', at)
  await file.close()
}

t.test('a damaged block', async t => {
  for (const [which, victim, left] of [['the last', 'n4', ['n0', 'n1', 'n2', 'n3']], ['an inner', 'n2', ['n0', 'n1', 'n3', 'n4']]] as const) {
    await t.test(`that is ${which} one of its partition is set aside, and the partition goes on`, async t => {
      const directory = t.testdir()
      const stream = noteStream()
      const first = await openedLog(t, directory)
      for (const item of notes(5)) await first.log.append(stream, 1, [item])
      await first.store.close()
      await damage(directory, `"${victim}"`)

      const { log, store, damages } = await openedLog(t, directory)
      t.strictSame(await log.bounds(stream, 1), { first: 0n, next: 5n }, 'with its offset taken')
      t.strictSame(await collect(log.read(stream, 1, { from: 0n })), left)
      t.strictSame(damages, [
        { stream: stream.name, partition: 1, offset: BigInt(victim[1]!), reason: 'its checksum is wrong' },
      ], 'loudly')
      t.equal((await log.append(stream, 1, [note('new')])).offset, 5n)
      await store.settled()
      const rejected = []
      for await (const { items } of log.read(rejectedStream(stream), 1, { from: 0n })) rejected.push(...items)
      t.match(rejected, [{ code: 'bad-record', reason: `1@${victim[1]}: its checksum is wrong` }], 'with the reason')
      t.match(Buffer.from(rejected[0]!.command).toString('latin1'), `#${victim}"`, 'raw')
      await store.close()

      const again = await openedLog(t, directory)
      t.strictSame(await collect(again.log.read(stream, 1, { from: 0n })), [...left, 'new'])
      if (victim === 'n4') t.strictSame(again.damages, [], 'once and for all')
    })
  }
})

t.test('a block that can not be decoded', async t => {
  const directory = t.testdir()
  const stream = noteStream()
  const { log, store, damages } = await openedLog(t, directory)
  const poison = { ...stream, encodeBlock: () => Buffer.from('poison') }
  await log.append(stream, 0, [note('before')])
  await log.append(stream, 1, [note('other')])
  await store.close()
  const next = await openedLog(t, directory)
  await next.log.append(poison, 0, [note('x')])
  await next.store.close()

  const last = await openedLog(t, directory)
  await last.log.append(stream, 0, [note('after')])
  const follower = collector()
  await last.log.follow(stream, 'group', follower)
  await until(() => follower.texts(0).length === 2)
  t.strictSame(follower.texts(0), ['before', 'after'], 'is skipped by followers')
  t.strictSame(await collect(last.log.read(stream, 0, { from: 0n })), ['before', 'after'], 'and by readers')
  t.strictSame(last.damages, [{ stream: stream.name, partition: 0, offset: 1n, reason: 'not a note' }], 'and told of once')
  t.equal(last.log.metrics.blocksSetAside, 1)
  await last.store.settled()
  for await (const { items } of last.log.read(rejectedStream(stream), 0, { from: 0n })) {
    t.equal(Buffer.from(items[0]!.command).toString(), 'poison', 'and kept as it was stored')
  }
  t.strictSame(damages, [])
})
