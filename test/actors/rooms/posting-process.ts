/**
 * A process that folds users and rooms in the store of its first argument, while users of its own send uplinks that
 * name rooms, from where the ledger ends, up to `uplinksOfEach`. It prints a line after each append, and `done` once
 * all is posted and saved.
 */
import { localLinks } from '../../../actors/links.js'
import { startOwner } from '../../../actors/owner.js'
import { partitionLimits } from '../../../actors/partition-limits.js'
import { rooms as roomsKind } from '../../../actors/rooms/kind.js'
import { SlicedWork } from '../../../actors/sliced-work.js'
import { embeddedSnapshots } from '../../../actors/snapshots-embedded.js'
import { startActors } from '../../../actors/system.js'
import { users as usersKind } from '../../../actors/user/kind.js'
import { embeddedLog } from '../../../ledger/embedded/log.js'
import { openStore } from '../../../ledger/embedded/store.js'
import type { Entry } from '../../../schemas/facts.js'
import { partitionOf } from '../../../schemas/partitioning.js'
import { ledger } from '../../../schemas/streams.js'
import { opened } from '../user/history.js'
import { partitions, roomOfUplink, uplinksOfEach, userIds } from './posting.js'

const [, , directory = ''] = process.argv
const store = await openStore({ directory, headroomBytes: 1 << 20 })
const log = embeddedLog(store, { partitions })
const seqs = new Map<string, number>()
for (let partition = 0; partition < partitions; partition++) {
  for await (const { items } of log.read(ledger, partition, { from: 0n })) {
    for (const { userId, fact } of items) seqs.set(userId, fact.type === 'UplinkReceived' ? fact.seq : 0)
  }
}

/** Nothing may fail, or be set aside. */
const failed = (what: string, error: unknown) => { throw new Error(what, { cause: error }) }
const common = {
  log,
  system: startActors(),
  links: localLinks(),
  limits: partitionLimits,
  checkpoints: new SlicedWork(),
  folds: undefined,
  setAside: (_entry: unknown, _partition: number, _offset: bigint, error: Error) => failed('an entry', error),
  keySetAside: (key: string, _partition: number, _offset: bigint, error: Error) => failed(key, error),
  derivedSetAside: (_item: unknown, _partition: number, error: Error) => failed('an item', error),
  failed,
}
const users = await startOwner(log, {
  ...common,
  kind: usersKind({ log, settled () {}, resumeBytesMax: 1, postSetAside: (_post, error) => failed('a post', error) }),
  snapshots: embeddedSnapshots(store),
})
const roomSnapshots = embeddedSnapshots(store, 'rooms')
const rooms = await startOwner(log, {
  ...common,
  kind: roomsKind({ log, saved: roomSnapshots, silenceMs: 0, isGone: () => false }),
  snapshots: roomSnapshots,
})

const append = async (...entries: Entry[]) =>
  await log.append(ledger, partitionOf(entries[0]!.userId, partitions), entries)
for (const userId of userIds) {
  if (seqs.has(userId)) continue
  seqs.set(userId, 0)
  await append({ userId, atMs: 1, fact: opened(userId) })
}
while ([...seqs.values()].some(seq => seq < uplinksOfEach)) {
  await Promise.all(userIds.map(async userId => {
    const entries: Entry[] = []
    for (let i = 0; i < 5 && seqs.get(userId)! < uplinksOfEach; i++) {
      const seq = seqs.get(userId)! + 1
      seqs.set(userId, seq)
      const payload = Buffer.from(`${userId} ${seq}`)
      const roomId = roomOfUplink(seq)
      const fact = { type: 'UplinkReceived', connectionId: userId, seq, service: '', payload, priority: 0, roomId } as const
      entries.push({ userId, atMs: 1, fact })
    }
    if (entries.length > 0) await append(...entries)
  }))
  process.stdout.write('more\n')
}
await users.stop()
await rooms.stop()
await store.close()
common.system.stop()
process.stdout.write('done\n')
