import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { embeddedLog } from '../../../ledger/embedded/log.js'
import { openStore } from '../../../ledger/embedded/store.js'
import type { Posted } from '../../../schemas/records.js'
import { posts } from '../../../schemas/streams.js'
import { partitions, roomOfUplink, uplinksOfEach, userIds } from './posting.js'

t.test('Uplinks that name rooms are each posted once, however often the process is killed', async t => {
  const directory = t.testdir()
  const program = fileURLToPath(new URL('./posting-process.js', import.meta.url))
  for (let round = 0, ended = false; !ended; round++) {
    const child = spawn(process.execPath, [program, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    const exit = new Promise(resolve => { child.once('exit', resolve) })
    let appends = 0
    for await (const line of createInterface(child.stdout)) {
      if (line === 'done') ended = true
      else if (round < 5 && ++appends > 3 * round + 2) child.kill('SIGKILL')
    }
    await exit
    if (round > 5 && !ended) throw new Error('the process did not come to its end')
  }

  const store = await openStore({ directory, headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions })
  const byRoom = new Map<string, Posted[]>()
  for (let partition = 0; partition < partitions; partition++) {
    for await (const { items } of log.read(posts, partition, { from: 0n })) {
      for (const post of items) byRoom.set(post.roomId, [...byRoom.get(post.roomId) ?? [], post])
    }
  }
  t.strictSame([...byRoom.keys()].sort(), ['room 1', 'room 2'])
  for (const [roomId, found] of byRoom) {
    const numbers = found.map((_, i) => i + 1)
    t.strictSame(found.map(({ roomSeq }) => roomSeq), numbers, `${roomId} has no gap and no number twice`)
    for (const userId of userIds) {
      const seqs = Array.from({ length: uplinksOfEach }, (_, i) => i + 1).filter(seq => roomOfUplink(seq) === roomId)
      t.strictSame(found.filter(({ from }) => from === userId).map(({ messageId }) => messageId),
        seqs.map(seq => `${userId}/${seq}`), `each uplink of ${userId} in its order`)
    }
  }
})
