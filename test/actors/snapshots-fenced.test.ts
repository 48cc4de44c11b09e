import t from 'tap'
import { clusterSnapshots } from '../../actors/snapshots-cluster.js'
import type { RedisSnapshots } from '../../actors/snapshots-redis.js'
import { type Changelog, ChangelogFenced } from '../../ledger/changelog.js'
import { GatewayError } from '../../schemas/errors.js'
import { states } from './snapshots-contract.js'

/** Refuses a first write, and then says that somebody else has the partition. */
function troubledChangelog (): Changelog {
  let writes = 0
  return {
    open: async () => ({
      async write () {
        if (++writes === 1) throw new GatewayError('ledger-unavailable', 'no broker')
        throw new ChangelogFenced('another owner')
      },
      next: async () => 0n,
      async * read () {},
      last: async () => undefined,
    }),
  }
}

t.test('a save that fails until the partition has another owner is trouble no longer then', async t => {
  const copy = { checkpoint: async () => 0n } as unknown as RedisSnapshots
  const troubles = new Set<number>()
  const told: string[] = []
  const snapshots = clusterSnapshots({
    changelog: troubledChangelog(),
    copy,
    identity: 'a log',
    retryMs: 1,
    onFailed: (error, partition) => {
      troubles.add(partition)
      told.push((error as Error).message)
    },
    onSaved: partition => { troubles.delete(partition) },
  })
  await snapshots.checkpoint(3)
  await t.rejects(snapshots.save(3, 10n, states(['ada', 'a10'])), { name: 'SnapshotsLost' })
  t.strictSame(told, ['no broker'])
  t.strictSame([...troubles], [])
})
