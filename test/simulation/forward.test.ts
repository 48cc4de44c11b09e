import t from 'tap'
import type { RebuildableSnapshots } from '../../actors/snapshots.js'
import { forwardOnly } from '../../simulation/stores/forward.js'

t.test('A state that is saved as of an earlier block than it was loaded', async t => {
  const complaints: string[] = []
  let refused = false
  const stored = {
    async load () { return { head: Buffer.of(9), parts: new Map() } },
    async save () { if (refused) throw new Error('another writer') },
  } as unknown as RebuildableSnapshots
  const snapshots = forwardOnly(stored, head => head[0], complaint => { complaints.push(complaint) })
  await snapshots.load(0, 'ann', (() => []) as never)
  const save = (offset: number) => snapshots.save(0, 10n, new Map([['ann', { head: Buffer.of(offset) }]]) as never)
  await save(9)
  t.strictSame(complaints, [])
  refused = true
  await t.rejects(save(4), /another writer/)
  t.strictSame(complaints, [], 'is none where it is refused, as another owner has the partition')
  refused = false
  await snapshots.load(0, 'ann', (() => []) as never)
  await save(4)
  t.strictSame(complaints, ['ann, whose state includes block 9, is saved as of 4'])
})
