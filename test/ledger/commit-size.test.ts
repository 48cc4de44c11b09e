import t from 'tap'
import { CommitSize, commitBytesMax, commitBytesMin } from '../../ledger/embedded/commit-size.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { note, noteStream } from './log-contract.js'

t.test('a commit takes what the disk takes in some milliseconds', async t => {
  const size = new CommitSize()
  const msOf = (bytes: number, mbPerSecond: number) => 0.3 + bytes / 1e3 / mbPerSecond
  const commits = (count: number, mbPerSecond: number) => {
    for (let i = 0; i < count; i++) size.committed(msOf(size.bytesMax, mbPerSecond), true)
  }
  commits(20, 2_000)
  t.equal(size.bytesMax, commitBytesMax, 'a fast one all that may be')
  commits(20, 150)
  const ms = msOf(size.bytesMax, 150)
  t.ok(ms >= 2 && ms <= 4, `${size.bytesMax} bytes in ${ms} ms`)
  commits(20, 10)
  t.equal(size.bytesMax, commitBytesMin, 'a slow one not too little')
  commits(20, 2_000)
  t.equal(size.bytesMax, commitBytesMax, 'and as much as before once it is fast again')
})

t.test('neither one slow commit nor those that were not full change it', async t => {
  const size = new CommitSize()
  for (let i = 0; i < 30; i++) size.committed(i % 5 === 0 ? 80 : 3, true)
  for (let i = 0; i < 30; i++) size.committed(80, false)
  t.equal(size.bytesMax, commitBytesMax)
})

t.test('the log commits less at once where each commit is slow', async t => {
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  let ms = 0
  const log = embeddedLog(store, {
    partitions: 1,
    steady () {
      ms += 10
      return ms
    },
  })
  const stream = noteStream()
  const appends = Array.from({ length: 400 }, () => log.append(stream, 0, [note('x'.repeat(20_000))]))
  await Promise.all(appends)
  const sizes: number[] = []
  for await (const { items } of log.read(stream, 0, { from: 0n })) {
    sizes.push(items.reduce((sum, item) => sum + stream.bytesOf(item), 0))
  }
  t.ok(sizes[0]! > commitBytesMin * 3)
  t.ok(sizes.slice(10, -1).every(bytes => bytes <= commitBytesMin), sizes.join())
})
