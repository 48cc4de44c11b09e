import fc from 'fast-check'
import t from 'tap'
import { type Place, Progress } from '../../../gateway/webhooks/progress.js'

const wide = { recordsMax: 1e9, bytesMax: 1e9 }

t.test('The place in a partition', async t => {
  t.test('is that of the oldest block that is not done, in whatever order records are done', async t => {
    fc.assert(fc.property(
      fc.array(fc.tuple(fc.nat(2).map(gap => gap + 1), fc.nat(3)), { minLength: 1, maxLength: 60 }),
      fc.infiniteStream(fc.nat()),
      (blocks, draws) => {
        let committed = 0n
        const progress = new Progress(next => {
          if (next <= committed) throw new Error(`it went back from ${committed} to ${next}`)
          committed = next
        }, wide)
        const open: Place[] = []
        const offsets: Array<{ offset: bigint, place: Place }> = []
        let offset = 0n
        const check = () => {
          const undone = offsets.find(({ place }) => place.left > 0)
          const last = offsets.at(-1)!
          return committed === (undone ? offsets[offsets.indexOf(undone) - 1]?.offset ?? -1n : last.offset) + 1n
        }
        for (const [gap, records] of blocks) {
          offset += BigInt(gap)
          const place = progress.begin(offset, records, records)
          offsets.push({ offset, place })
          for (let i = 0; i < records; i++) open.push(place)
          if (!check()) return false
          if (draws.next().value % 2 === 0 || open.length === 0) continue
          progress.done(open.splice(draws.next().value % open.length, 1)[0]!, 1)
          if (!check()) return false
        }
        while (open.length > 0) {
          progress.done(open.splice(draws.next().value % open.length, 1)[0]!, 1)
          if (!check()) return false
        }
        return progress.undone === 0 && progress.bytes === 0
      }), { numRuns: 500 })
  })

  t.test('stays right when a million blocks are done behind one that is not', async t => {
    let committed = 0n
    const progress = new Progress(next => { committed = next }, wide)
    const first = progress.begin(0n, 1, 1)
    for (let offset = 1n; offset <= 1_000_000n; offset++) progress.done(progress.begin(offset, 1, 1), 1)
    t.equal(committed, 0n)
    progress.done(first, 1)
    t.equal(committed, 1_000_001n)
  })

  t.test('has its stream wait while it is full of records, or of bytes, and no longer', async t => {
    for (const bounds of [{ recordsMax: 2, bytesMax: 1e9 }, { recordsMax: 1e9, bytesMax: 20 }]) {
      const progress = new Progress(() => {}, bounds)
      const a = progress.begin(0n, 1, 10)
      t.equal(progress.whenRoom(), undefined)
      progress.begin(1n, 1, 10)
      let hasRoom = false
      const waiting = progress.whenRoom()!.then(() => { hasRoom = true })
      await new Promise(resolve => setImmediate(resolve))
      t.notOk(hasRoom)
      progress.done(a, 10)
      await waiting
    }
  })

  t.test('is told to nobody once the partition is given back', async t => {
    let committed = 0n
    const progress = new Progress(next => { committed = next }, { recordsMax: 1, bytesMax: 1e9 })
    const place = progress.begin(0n, 1, 1)
    const waiting = progress.whenRoom()
    progress.end()
    await waiting
    progress.done(place, 1)
    t.equal(committed, 0n)
  })
})
