import t, { type Test } from 'tap'
import { Forwarder } from '../../actors/forwarder.js'
import { foldRoom } from '../../actors/rooms/fold.js'
import { newRoom } from '../../actors/rooms/state.js'
import { appendBytesMax, piecesOf } from '../../ledger/pieces.js'
import { GatewayError } from '../../schemas/errors.js'
import { partitionOf } from '../../schemas/partitioning.js'
import type { RoomEntry } from '../../schemas/room-facts.js'
import { until } from './given.js'

const partitions = 4
/** A room of each partition. */
const roomIds = Array.from({ length: partitions }, (_, partition) => {
  for (let n = 0; ; n++) if (partitionOf(`chat:${n}`, partitions) === partition) return `chat:${n}`
})

/** A forwarder over a stream that takes a piece of an append when `takes` lets it. */
function given (t: Test, takes: (partition: number, bytes: number) => void | Promise<void>) {
  const stored: RoomEntry[][] = Array.from({ length: partitions }, () => [])
  const aside: string[] = []
  const failures: string[] = []
  let progress = 0
  let lastSeq = 0
  const forwarder = new Forwarder({
    log: {
      partitions: () => partitions,
      // As Kafka's side does it: pieces that fit into one record go side by side, and each is taken or refused alone.
      async append (stream, partition, items) {
        await Promise.all(piecesOf(stream, items).map(async piece => {
          await takes(partition, piece.reduce((sum, item) => sum + stream.bytesOf(item), 0))
          stored[partition]!.push(...piece as any)
        }))
        return { partition, offset: 0n, index: 0 }
      },
    },
    partition: 0,
    setAside: ({ roomId }) => { aside.push(roomId) },
    failed: reason => { failures.push(reason) },
    progressed: () => { progress++ },
  }, -1n)
  t.teardown(() => { forwarder.end() })
  return {
    forwarder,
    stored,
    aside,
    failures,
    get progress () { return progress },
    /** One post for each room. */
    block (offset: number, roomIds: readonly string[], payloadBytes = 10) {
      const items = roomIds.map(() => ({ userId: 'ann', atMs: 1 }))
      const posts = items.map((entry, i) => ({
        entry,
        fact: { roomId: roomIds[i], service: 'chat', payload: Buffer.alloc(payloadBytes) },
        userSeq: ++lastSeq,
      }))
      forwarder.add({
        offset: BigInt(offset), items, derived: [], handOn: posts.length > 0 ? posts : undefined, folded () {},
      } as any)
    },
  }
}

function idsOf (entries: readonly RoomEntry[]): string[] {
  return entries.map(({ fact }) => fact.type === 'PostRequested' ? fact.messageId : fact.type)
}

const unavailable = () => new GatewayError('ledger-unavailable', 'it is full')

t.test('Posts of uplinks', async t => {
  t.test('are all in their room, in order, where the stream refuses a part of many and takes what follows', async t => {
    let pieces = 0
    const world = given(t, () => { if (++pieces === 2) throw unavailable() })
    world.block(0, Array.from({ length: 12 }, () => roomIds[0]!), appendBytesMax / 4)
    t.ok(await world.forwarder.until(0n))
    const room = newRoom()
    const effects = world.stored[0]!.flatMap(entry => foldRoom(room, entry))
    t.strictSame(effects.map(effect => effect.type === 'post' && effect.post.messageId),
      Array.from({ length: 12 }, (_, i) => `ann/${i + 1}`))
    t.strictSame(world.failures, ['it is full'])
    t.equal(world.forwarder.bytes, 0)
  })

  t.test('go on in all partitions but the one that takes nothing', async t => {
    let isAway = true
    const world = given(t, partition => { if (isAway && partition === 1) throw unavailable() })
    world.block(0, roomIds)
    await until(() => world.failures.length > 0)
    world.block(1, [])
    world.block(2, [roomIds[0]!, roomIds[1]!, roomIds[0]!, roomIds[3]!])
    await until(() => world.stored[0]!.length === 3 && world.stored[3]!.length === 2)
    t.strictSame(world.stored.map(idsOf), [['ann/1', 'ann/5', 'ann/7'], [], ['ann/3'], ['ann/4', 'ann/8']])
    t.ok(world.progress > 0)
    t.ok(world.forwarder.bytes > 0, 'what waits is counted')
    t.ok(world.forwarder.sinceMs > 0, 'and that it waits is told')
    let isDone = false
    const done = world.forwarder.until(2n).then(() => { isDone = true })
    await new Promise(resolve => setImmediate(resolve))
    t.notOk(isDone, 'no checkpoint passes over what waits')
    isAway = false
    await done
    t.strictSame(idsOf(world.stored[1]!), ['ann/2', 'ann/6'])
    t.equal(world.forwarder.bytes, 0)
    t.equal(world.forwarder.sinceMs, 0)
  })

  t.test('are set aside alone where the stream will never take one', async t => {
    const world = given(t, (_, bytes) => {
      if (bytes > appendBytesMax) throw new GatewayError('payload-too-large', 'it is too large')
    })
    world.block(0, [roomIds[0]!, roomIds[0]!])
    world.block(1, [roomIds[0]!], appendBytesMax)
    world.block(2, [roomIds[0]!])
    t.ok(await world.forwarder.until(2n))
    t.strictSame(idsOf(world.stored[0]!), ['ann/1', 'ann/2', 'ann/4'])
    t.strictSame(world.aside, [roomIds[0]])
  })

  t.test('are the next owner\'s to write once the partition is given back', async t => {
    let release = () => {}
    const world = given(t, () => new Promise<void>(resolve => { release = resolve }))
    world.block(0, [roomIds[0]!], appendBytesMax)
    world.block(1, [roomIds[0]!])
    await new Promise(resolve => setImmediate(resolve))
    const done = world.forwarder.until(1n)
    world.forwarder.end()
    t.notOk(await done)
    release()
    await until(() => world.stored[0]!.length === 1)
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(idsOf(world.stored[0]!), ['ann/1'])
    t.notOk(await world.forwarder.until(0n))
  })
})
