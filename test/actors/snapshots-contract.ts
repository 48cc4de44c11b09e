import type { Test } from 'tap'
import type { Snapshots } from '../../actors/snapshots.js'

export interface SnapshotSides {
  /** Empty snapshots, closed by a teardown of `t`. */
  open (t: Test): Promise<Snapshots>
  /** Closes the snapshots and opens the same ones again. */
  reopen (t: Test, snapshots: Snapshots): Promise<Snapshots>
}

export function states (...entries: Array<[string, string]>): Map<string, Buffer> {
  return new Map(entries.map(([userId, text]) => [userId, Buffer.from(text)]))
}

/** What every side of the `Snapshots` port does. */
export function snapshotsContract (t: Test, name: string, { open, reopen }: SnapshotSides): void {
  t.test(`snapshots ${name}`, async t => {
    const snapshots = await open(t)

    t.equal(await snapshots.checkpoint(3), 0n, 'begin at offset 0')
    t.equal(await snapshots.load(3, 'ada'), undefined, 'know no user at first')

    const saving = snapshots.save(3, 10n, states(['ada', 'a10'], ['bob', 'b10'], ['next', '\0\xff']))
    t.equal((await snapshots.load(3, 'ada'))?.toString(), 'a10', 'are loaded before they are durable')
    await saving
    t.equal(await snapshots.checkpoint(3), 10n)
    t.equal((await snapshots.load(3, 'bob'))?.toString(), 'b10')
    t.strictSame(await snapshots.load(3, 'next'), Buffer.from('\0\xff'), 'are bytes')
    t.equal(await snapshots.load(4, 'bob'), undefined, 'are kept for each partition')

    await snapshots.save(3, 9n, states(['ada', 'a9']))
    t.equal((await snapshots.load(3, 'ada'))?.toString(), 'a10', 'never go back')
    t.equal(await snapshots.checkpoint(3), 10n)

    await Promise.all([
      snapshots.save(3, 12n, states(['ada', 'a12'])),
      snapshots.save(3, 11n, states(['ada', 'a11'])),
      snapshots.save(3, 13n, states(['bob', 'b13'])),
    ])
    t.equal((await snapshots.load(3, 'ada'))?.toString(), 'a12', 'not even among those that wait')

    const again = await reopen(t, snapshots)
    t.equal(await again.checkpoint(3), 13n, 'survive')
    t.equal((await again.load(3, 'ada'))?.toString(), 'a12')
    t.equal((await again.load(3, 'bob'))?.toString(), 'b13')
  })
}
