import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { startOwner } from '../../../actors/owner.js'
import type { AskRoom, PostsKnown } from '../../../actors/room-links.js'
import { users as usersKind } from '../../../actors/user/kind.js'
import { foldRoom } from '../../../actors/rooms/fold.js'
import { roomStates } from '../../../actors/rooms/parts.js'
import { firstWalkMs, walkEveryMs } from '../../../actors/rooms/silent-rooms.js'
import { rebuildSnapshots } from '../../../actors/snapshots-rebuild.js'
import { StoppedActors } from '../../../actors/stopped-actors.js'
import { Partition } from '../../../actors/partition.js'
import type { Entry, Fact } from '../../../schemas/facts.js'
import type { NodeEntry } from '../../../schemas/node-facts.js'
import type { RoomFact } from '../../../schemas/room-facts.js'
import { ledger, nodes, rooms } from '../../../schemas/streams.js'
import { until } from '../given.js'
import { opened } from '../user/history.js'
import { joined, left, posted, roomClosed, roomId, roomOf } from './given-room.js'
import { givenRooms, type GivenRooms } from './given-rooms.js'

const known = { type: 'askRoom', roomId, partition: 0, nodeId: 'n1', nodeEpoch: 1, interest: 1, afterSeq: 0, bytesMax: 1_000 } as const

t.test('A partition of rooms', async t => {
  t.test('publishes posts in their order, and tells nodes with members, each once', async t => {
    const world = await givenRooms(t, t.testdir())
    const owner = await startOwner(world.log, world.rooms)
    await world.append(posted('m1'), joined('n1', 1), posted('m2'), posted('m3'), joined('n2', 1), posted('m4'))
    await until(async () => (await world.published()).length === 4)
    t.match(await world.published(), [1, 2, 3, 4].map(roomSeq => ({ roomId, roomSeq, messageId: `m${roomSeq}` })))
    await until(() => world.sent.length === 5)
    t.strictSame(world.sent, [
      'tail n1 interest 1 0..1', 'posts n1 2,3', 'tail n2 interest 1 0..3', 'posts n1 4', 'posts n2 4',
    ], 'posts of one turn together')
    await owner.stop()
    t.strictSame(world.failures, [])
  })

  t.test('goes on with its numbers, nodes and requests in the next process', async t => {
    const directory = t.testdir()
    const first = await givenRooms(t, directory)
    const owner = await startOwner(first.log, first.rooms)
    await first.append(posted('m1'), joined('n1', 1), posted('m2'))
    await until(async () => (await first.published()).length === 2)
    await owner.stop()
    await first.close()

    const second = await givenRooms(t, directory)
    const later = await startOwner(second.log, second.rooms)
    await second.append(posted('m1'), posted('m3'))
    await until(() => second.sent.length === 1)
    t.strictSame(second.sent, ['posts n1 3'])
    await until(async () => (await second.published()).length === 3)
    t.match((await second.published()).at(-1), { roomSeq: 3, messageId: 'm3' })
    await later.stop()
  })

  t.test('answers questions, as of what has been appended', async t => {
    const world = await givenRooms(t, t.testdir())
    const answers: object[] = []
    world.links.roomKnown = answer => { answers.push(answer) }
    world.links.requestKnown = answer => { answers.push(answer) }
    world.links.postsKnown = answer => { answers.push(answer) }
    const owner = await startOwner(world.log, world.rooms)
    world.links.rooms = question => { owner.ask(question) }
    await world.append(posted('m1'), joined('n1', 1), posted('m2'), joined('n2', 3))
    const { next: asOf } = await world.log.bounds(rooms, 0)
    const ask = { roomId, partition: 0, nodeId: 'n9', asOf }
    world.links.toRoom({ type: 'askRoomInfo', ...ask, askId: 1 })
    world.links.toRoom({ type: 'askPost', ...ask, askId: 2, messageId: 'm1', content: 0 })
    world.links.toRoom({ type: 'askPost', ...ask, askId: 3, messageId: 'm9', content: 0 })
    world.links.toRoom({ type: 'askPosts', ...ask, askId: 4, afterSeq: 1, postsMax: 10 })
    world.links.toRoom({ type: 'askPosts', ...ask, askId: 5, afterSeq: 2, postsMax: 10 })
    world.links.toRoom({ type: 'askPosts', ...ask, askId: 6, afterSeq: 0, postsMax: 1 })
    await until(() => answers.length === 6)
    t.match(answers, [
      { type: 'roomKnown', nodeId: 'n9', askId: 1, roomSeq: 2, keptAfter: 0, nodes: ['n1', 'n2'], closed: false },
      { type: 'requestKnown', nodeId: 'n9', askId: 2, known: 'duplicate' },
      { type: 'requestKnown', nodeId: 'n9', askId: 3, known: 'first' },
      { type: 'postsKnown', nodeId: 'n9', askId: 4, keptAfter: 1, posts: [{ roomSeq: 2, messageId: 'm2' }] },
      { type: 'postsKnown', nodeId: 'n9', askId: 5, keptAfter: 2, posts: [] },
      { type: 'postsKnown', nodeId: 'n9', askId: 6, keptAfter: 0, posts: [{ roomSeq: 1, messageId: 'm1' }] },
    ])
    t.equal((answers[5] as PostsKnown).posts.length, 1, 'no more than were asked for')
    world.sent.length = 0
    const asks: AskRoom[] = [
      known,
      { ...known, afterSeq: 1 },
      { ...known, bytesMax: 2 },
      { ...known, interest: 2 }, // it is not known here: no answer
      { ...known, nodeEpoch: 2 },
      { ...known, nodeId: 'n3' },
      { ...known, nodeId: 'n2', interest: 3, afterSeq: 7 },
    ]
    for (const each of asks) world.links.toRoom(each)
    world.links.toRoom({ type: 'signalRoom', roomId, partition: 0, service: 'typing', payload: Buffer.of() })
    await until(() => world.sent.length === 6)
    t.strictSame(world.sent, [
      'tail n1 interest 1 0..2', 'tail n1 interest 1 1..2', 'tail n1 interest 1 1..2', 'tail n2 interest 3 2..2',
      'signal n1 typing', 'signal n2 typing',
    ])
    await owner.stop()
  })

  t.test('takes a node out that is gone, once it meets it', async t => {
    const world = await givenRooms(t, t.testdir())
    const owner = await startOwner(world.log, world.rooms)
    await world.append(joined('n1', 1, 10), joined('n2', 1, 10))
    await until(() => world.sent.length === 2)
    world.gone.add('n1 10')
    await world.append(posted('m1'))
    await until(async () => (await world.entries()).length === 4)
    t.match((await world.entries()).at(-1),
      { fact: { type: 'NodeLeft', nodeId: 'n1', nodeEpoch: 10, interest: 1, code: 'node-lost' } })
    await world.append(posted('m2'))
    await until(() => world.sent.length === 4)
    t.strictSame(world.sent.slice(2), ['posts n2 1', 'posts n2 2'])
    await owner.stop()
    t.equal((await world.entries()).length, 5, 'and says so once')
  })

  t.test('takes a node out that is gone where nothing happens in the room, and where another one joins', async t => {
    const world = await givenRooms(t, t.testdir())
    const owner = await startOwner(world.log, world.rooms)
    await world.append(joined('n1', 1, 10), joined('n1', 2, 10), joined('n2', 1, 10))
    await until(() => world.sent.length === 3)
    world.gone.add('n1 10')
    await until(async () => (await world.entries()).length === 4)
    t.match((await world.entries()).at(-1),
      { fact: { type: 'NodeLeft', nodeId: 'n1', nodeEpoch: 10, interest: 2, code: 'node-lost' } })
    await owner.stop()

    const next = await startOwner(world.log, world.rooms) // it has seen none of them join
    world.gone.add('n2 10')
    await world.append(joined('n3', 1))
    await until(async () => (await world.entries()).length >= 6)
    t.match((await world.entries()).at(-1), { fact: { type: 'NodeLeft', nodeId: 'n2', code: 'node-lost' } })
    await next.stop()
    t.equal((await world.entries()).length, 6, 'and says so once')
  })

  t.test('tells members that their room is closed, also those who join later', async t => {
    const world = await givenRooms(t, t.testdir())
    const owner = await startOwner(world.log, world.rooms)
    world.links.rooms = question => { owner.ask(question) }
    await world.append(posted('m1'), joined('n1', 1), roomClosed('over'), posted('m2'), joined('n2', 7))
    await until(() => world.sent.length === 3)
    t.strictSame(world.sent,
      ['tail n1 interest 1 0..1', 'tail n1 interest 1 0..1 closed: over', 'tail n2 interest 7 0..1 closed: over'])
    world.links.toRoom(known)
    await until(() => world.sent.length === 4)
    t.equal(world.sent.at(-1), 'tail n1 interest 1 0..1 closed: over', 'and those who have not heard of it')
    world.links.toRoom({ ...known, afterSeq: 1 })
    await until(() => world.sent.length === 5)
    t.equal(world.sent.at(-1), 'tail n1 interest 1 1..1 closed: over', 'who get what they lack')
    await owner.stop()
    t.match((await world.published()).map(({ messageId }) => messageId), ['m1'])
  })

  t.test('gives members the last posts of a room before they hear that it is closed', async t => {
    const world = await givenRooms(t, t.testdir())
    const owner = await startOwner(world.log, world.rooms)
    await world.append(joined('n1', 1), joined('n2', 3))
    await until(() => world.sent.length === 2)
    await world.append(posted('m1'), posted('m2'), roomClosed('over'), joined('n3', 4))
    await until(() => world.sent.length === 7)
    t.strictSame(world.sent.slice(2), [
      'posts n1 1,2', 'tail n1 interest 1 0..2 closed: over', 'posts n2 1,2', 'tail n2 interest 3 0..2 closed: over',
      'tail n3 interest 4 0..2 closed: over',
    ])
    await owner.stop()
  })

  t.test('sets a room aside whose state can not be read, and its nodes wait for nothing', async t => {
    const world = await givenRooms(t, t.testdir())
    const wrong = { head: Buffer.from('nonsense'), added: new Map(), changed: new Map(), gone: [] }
    await world.snapshots.save(0, 0n, new Map([[roomId, wrong]]))
    const owner = await startOwner(world.log, world.rooms)
    world.links.rooms = question => { owner.ask(question) }
    await world.append(joined('n1', 1))
    await until(() => world.sent.length === 1)
    t.strictSame(world.sent, ['tail n1 interest 1 0..0 closed: the state of this room can not be used'])
    t.match(world.failures, [/^chat:7 was set aside: /])
    world.links.toRoom(known)
    await until(() => world.sent.length === 2)
    await owner.stop()
  })

  t.test('has its saved states put right from the stream', async t => {
    const directory = t.testdir()
    const first = await givenRooms(t, directory)
    const owner = await startOwner(first.log, first.rooms)
    await first.append(posted('m1'), joined('n1', 1), posted('m2'))
    await until(async () => (await first.published()).length === 2)
    await owner.stop()
    const rebuild = () => rebuildSnapshots({
      kind: { stream: rooms, fold: foldRoom, states: roomStates },
      log: first.log,
      snapshots: first.snapshots,
      signal: new AbortController().signal,
      onPlanned () {},
      onRead () {},
    })
    t.match(await rebuild(), { states: 1, missing: 0, extra: 0, differing: 0 })
    const { next } = await first.log.bounds(rooms, 0)
    const other = roomStates.savedStateOf(roomOf(posted('m9')))
    await first.snapshots.replace(0, next, new Map([[roomId, other], ['chat:9', other]]))
    t.match(await rebuild(), { states: 1, missing: 0, extra: 1, differing: 1 })
    t.match(await rebuild(), { states: 1, missing: 0, extra: 0, differing: 0 })
  })

  t.test('keeps nothing of a room without a post that all have left, and each number of one with a post', async t => {
    const world = await givenRooms(t, t.testdir())
    /** What the next owner finds, once this one has folded all that. */
    const keptAfter = async (...facts: RoomFact[]) => {
      const owner = await startOwner(world.log, world.rooms)
      await world.append(...facts)
      const { next } = await world.log.bounds(rooms, 0)
      await until(async () => owner.progress()[0]!.folded === next)
      await owner.stop()
      const keys = new Set<string>()
      for await (const { userId } of world.snapshots.keys(0)) keys.add(userId)
      return [...keys]
    }
    t.strictSame(await keptAfter(joined('n1', 1)), [roomId], 'a node has members')
    t.strictSame(await keptAfter(left('n1', 1)), [])
    t.strictSame(await keptAfter(joined('n1', 2), posted('m1'), left('n1', 2)), [roomId])
    await keptAfter(posted('m2'))
    t.strictSame((await world.published()).map(({ roomSeq }) => roomSeq), [1, 2])
    t.strictSame(world.failures, [])
  })

  t.test('forgets a node that has left', async t => {
    const world = await givenRooms(t, t.testdir())
    const owner = await startOwner(world.log, world.rooms)
    await world.append(joined('n1', 1), left('n1', 1), posted('m1'))
    await until(async () => (await world.published()).length === 1)
    t.strictSame(world.sent, ['tail n1 interest 1 0..0'])
    await owner.stop()
  })
})

const nodeStopped: NodeEntry = { nodeId: 'n1', epoch: 1, atMs: 1, fact: { type: 'NodeStopped' } }

/** Entries of `ann` and others, each of whom has a connection of her name. */
function uplinkOf (userId: string, seq: number, room: string): Entry {
  const fact: Fact = {
    type: 'UplinkReceived',
    connectionId: userId,
    seq,
    service: 'chat',
    payload: Buffer.from(`${userId} ${seq}`),
    priority: 0,
    roomId: room,
  }
  return { userId, atMs: 1, fact }
}

async function givenUsers (world: GivenRooms, ...userIds: string[]): Promise<void> {
  await world.log.append(ledger, 0, userIds.map(userId => ({ userId, atMs: 1, fact: opened(userId) })))
}

t.test('An accepted uplink that names a room', async t => {
  t.test('is a post in it, of its app, in the order of the ledger', async t => {
    const world = await givenRooms(t, t.testdir())
    await givenUsers(world, 'ann', 'bob', 'shop\u001fann')
    await world.log.append(ledger, 0, [
      uplinkOf('bob', 1, 'chat:7'), uplinkOf('ann', 1, 'chat:7'), uplinkOf('ann', 2, ''), uplinkOf('bob', 2, 'chat:8'),
      uplinkOf('shop\u001fann', 1, 'chat:7'), uplinkOf('bob', 3, 'chat:7'), uplinkOf('ann', 9, 'chat:7'), uplinkOf('bob', 1, 'chat:7'),
    ])
    const users = await startOwner(world.log, world.users)
    const owner = await startOwner(world.log, world.rooms)
    await until(async () => (await world.published()).length === 5)
    await users.stop()
    await owner.stop()
    const entries = await world.entries()
    t.strictSame(entries.map(({ roomId, fact }) => fact.type === 'PostRequested' && `${roomId} ${fact.from} ${fact.messageId}`), [
      'chat:7 bob bob/1', 'chat:7 ann ann/1', 'chat:8 bob bob/2', 'shop\u001fchat:7 ann ann/1', 'chat:7 bob bob/3',
    ], 'neither one that is refused nor a repeat')
    t.match(entries[1], {
      fact: { service: 'chat', payload: Buffer.from('ann 1'), ledgerPartition: 0, ledgerOffset: 1, ledgerIndex: 1, by: '' },
    })
    t.strictSame((await world.published()).filter(({ roomId }) => roomId === 'chat:7').map(({ roomSeq, messageId }) => `${roomSeq} ${messageId}`),
      ['1 bob/1', '2 ann/1', '3 bob/3'])
    t.strictSame(world.failures, [])
  })

  t.test('is not posted twice by a replay of the ledger from an older checkpoint', async t => {
    const directory = t.testdir()
    const first = await givenRooms(t, directory)
    await givenUsers(first, 'ann', 'bob')
    for (let seq = 1; seq <= 20; seq++) {
      await first.log.append(ledger, 0, [uplinkOf('ann', seq, 'chat:7'), uplinkOf('bob', seq, 'chat:7')])
    }
    // Users fold and post, and nothing of their states is saved.
    const unsaved = { ...first.users, snapshots: { ...first.users.snapshots, save: () => new Promise<void>(() => {}) } }
    const users = await startOwner(first.log, { ...unsaved, limits: { ...unsaved.limits, revokeMs: 1 } })
    const owner = await startOwner(first.log, first.rooms)
    await until(async () => (await first.published()).length === 40)
    await users.stop()
    await owner.stop()
    await first.close()

    const second = await givenRooms(t, directory)
    t.equal(await second.users.snapshots.checkpoint(0), 0n)
    const again = await startOwner(second.log, second.users)
    const later = await startOwner(second.log, second.rooms)
    await second.log.append(ledger, 0, [uplinkOf('ann', 21, 'chat:7')])
    await until(async () => (await second.entries()).length === 81)
    await until(async () => (await second.published()).length === 41)
    await again.stop()
    await later.stop()
    const ids = (await second.published()).map(({ roomSeq, messageId }) => `${roomSeq} ${messageId}`)
    t.strictSame(ids, Array.from({ length: 41 }, (_, i) => `${i + 1} ${i % 2 === 0 ? 'ann' : 'bob'}/${1 + (i >> 1)}`))
  })

  t.test('is in its room before a checkpoint passes over it', async t => {
    const world = await givenRooms(t, t.testdir())
    await givenUsers(world, 'ann')
    await world.log.append(ledger, 0, [uplinkOf('ann', 1, 'chat:7')])
    let release = () => {}
    const held = new Promise<void>(resolve => { release = resolve })
    const log = {
      ...world.log,
      partitions: world.log.partitions.bind(world.log),
      append: (async (stream, ...rest) => {
        if (stream.name === rooms.name) await held
        return await world.log.append(stream, ...rest)
      }) as typeof world.log.append,
    }
    const kind = usersKind({ log, settled () {}, resumeBytesMax: 1, postSetAside () {} })
    const partition = await Partition.open(0, { ...world.users, kind }, new StoppedActors(), () => {})
    for await (const block of world.log.read(ledger, 0, { from: 0n })) partition.received(block)
    await until(() => partition.progress.folded === 2n && partition.progress.published === 2n)
    const checkpoint = partition.checkpoint()
    await until(() => partition.progress.savingSinceMs > 0)
    // A save would be in the commit of whatever is appended now.
    for (let i = 0; i < 3; i++) await world.log.append(nodes, 0, [nodeStopped])
    t.equal(partition.progress.saved, 0n)
    t.ok(partition.progress.publishingSinceMs > 0, 'and what holds it up is told')
    release()
    await checkpoint
    t.equal(partition.progress.saved, 2n)
    t.match(await world.entries(), [{ roomId: 'chat:7', fact: { messageId: 'ann/1' } }])
    await partition.revoke()
  })
})

t.test('Rooms that nobody uses', async t => {
  const silenceMs = 3_600_000
  const agoMs = Date.now() - 2 * silenceMs

  /** The rooms of a world that are said to be silent by walks from `nowMs` on, a step a turn. */
  async function walked (world: GivenRooms) {
    const partition = await Partition.open(0, world.rooms, new StoppedActors(), () => {})
    const ending = new AbortController()
    t.teardown(() => { ending.abort() })
    const following = (async () => {
      const range = { from: partition.next, signal: ending.signal }
      for await (const block of world.log.read(rooms, 0, range)) await partition.received(block)
    })()
    following.catch(err => { world.failures.push(err.message) })
    return {
      async sweep (nowMs: number) {
        partition.sweep(nowMs)
        await delay(10)
        return (await world.entries()).flatMap(({ roomId, fact }) => fact.type === 'RoomFellSilent' ? [roomId] : [])
      },
      async save () {
        const { next } = await world.log.bounds(rooms, 0)
        await until(() => partition.progress.folded === next)
        await partition.checkpoint()
      },
    }
  }

  const append = async (world: GivenRooms, atMs: number, ids: readonly string[], ...facts: RoomFact[]) =>
    await world.log.append(rooms, 0, ids.flatMap(id => facts.map(fact => ({ roomId: id, atMs, fact }))))

  t.test('let go of what they keep, some a second, and go on with their numbers', async t => {
    const world = await givenRooms(t, t.testdir(), silenceMs)
    const ids = Array.from({ length: 20 }, (_, i) => `room ${i}`)
    await append(world, agoMs, ids, posted('m1'), posted('m2'))
    await append(world, Date.now(), ['fresh'], posted('m1'))
    await append(world, agoMs, ['there'], posted('m1'), joined('n1', 1))
    await append(world, agoMs, ['dead'], posted('m1'), joined('gone', 1))
    world.gone.add('gone 1')
    const { sweep, save } = await walked(world)
    await save()
    const startMs = Date.now()
    await sweep(startMs)
    t.strictSame(await sweep(startMs + firstWalkMs - 1), [], 'not before the partition has been here for some time')
    let nowMs = startMs + firstWalkMs
    let first: string[] = []
    await until(async () => (first = await sweep(nowMs)).length > 0)
    t.ok(first.length <= 8)
    await until(async () => (await sweep(nowMs += 1_000)).length === ids.length)
    const left = (await world.entries()).filter(({ fact }) => fact.type === 'NodeLeft')
    t.match(left, [{ roomId: 'dead', fact: { nodeId: 'gone', code: 'node-lost' } }], 'a node that is gone is put out first')
    for (let i = 0; i < 10; i++) await sweep(nowMs += 1_000)
    await save()
    const keys: string[] = []
    for await (const { userId, part } of world.snapshots.keys(0)) if (part?.startsWith('m')) keys.push(`${userId} ${part}`)
    t.strictSame(keys.toSorted(), ['dead m1', 'fresh m1', 'there m1'], 'but who is there, or has posted of late, keeps all')
    await append(world, Date.now(), ['room 3'], posted('m3'))
    await until(async () => (await world.published()).some(post => post.messageId === 'm3' && post.roomSeq === 3))
    t.strictSame(world.failures, [])
  })

  t.test('are looked for again a day later', async t => {
    const world = await givenRooms(t, t.testdir(), silenceMs)
    const { sweep, save } = await walked(world)
    const startMs = Date.now()
    for (const atMs of [0, firstWalkMs, firstWalkMs + 1_000, firstWalkMs + 2_000]) await sweep(startMs + atMs)
    await append(world, agoMs, ['late'], posted('m1'))
    await save()
    t.strictSame(await sweep(startMs + walkEveryMs), [])
    await until(async () => (await sweep(startMs + walkEveryMs + firstWalkMs + 2_000)).includes('late'))
  })

  t.test('are not looked for where no time is set', async t => {
    const never = await givenRooms(t, t.testdir(), 0)
    const startMs = Date.now()
    await append(never, agoMs, ['old'], posted('m1'))
    const silentNever = await walked(never)
    await silentNever.save()
    for (const atMs of [0, firstWalkMs, firstWalkMs + 1_000]) t.strictSame(await silentNever.sweep(startMs + atMs), [])
  })

  t.test('are looked for again where their states can not be read, and their partition says so', async t => {
    const world = await givenRooms(t, t.testdir(), silenceMs)
    await append(world, agoMs, ['old'], posted('m1'))
    const { heads } = world.snapshots
    world.snapshots.heads = async function * () { throw new Error('the store is away') }
    const partition = await Partition.open(0, world.rooms, new StoppedActors(), () => {})
    for await (const block of world.log.read(rooms, 0, { from: 0n })) await partition.received(block)
    await until(() => partition.progress.folded === 1n)
    await partition.checkpoint()
    const startMs = Date.now()
    partition.sweep(startMs)
    partition.sweep(startMs + firstWalkMs)
    await until(() => partition.progress.lastError === 'silent rooms can not be looked for: the store is away')
    world.snapshots.heads = heads
    await until(async () => {
      partition.sweep(startMs + 3 * firstWalkMs)
      return (await world.entries()).some(({ fact }) => fact.type === 'RoomFellSilent')
    })
    await partition.revoke()
  })
})
