import t, { type Test } from 'tap'
import type { MembershipsTold } from '../../../actors/links.js'
import type { Frame } from '../../../schemas/frames.js'
import { RoomPatterns } from '../../../schemas/room-rights.js'
import { type GivenConnection, identity, openConnection, turn, uplinks } from '../../gateway/edge/given-connection.js'
import { until } from '../../gateway/node.js'
import { givenRooms, type GivenRooms } from './given-rooms.js'

const anything = { '*': 'rw' }

/** An open connection that has been told `connected`, and nothing else that the test looks at. */
async function member (t: Test, world: GivenRooms, claim: object = anything): Promise<GivenConnection> {
  const token = { rooms: RoomPatterns.of(claim)! }
  const client = await openConnection(t, {}, { token }, undefined, undefined, world.rooms)
  client.written.length = 0
  return client
}

function join (roomId = 'r', roomSeq = -1): Frame { return { op: 'join', roomId, roomSeq } }
function leave (roomId = 'r'): Frame { return { op: 'leave', roomId } }

/** What was written since the last time, in short. */
function told (client: GivenConnection): string[] {
  return client.written.splice(0).map(frame => {
    switch (frame.op) {
      case 'joined': return `joined ${frame.roomId} ${frame.roomSeq}${frame.missed > 0 ? ` missed ${frame.missed}` : ''}`
      case 'left': return `left ${frame.roomId} ${frame.code}`
      case 'post': return `${frame.roomId} ${frame.roomSeq}`
      case 'error': return `error ${frame.code}`
      default: return frame.op
    }
  })
}

/** A member that was told so, and the posts up to `roomSeq`. */
async function inRoom (t: Test, world: GivenRooms, roomSeq: number, roomId = 'r'): Promise<GivenConnection> {
  const client = await member(t, world)
  client.received(join(roomId, 0))
  await turn()
  if (world.facts(roomId).length === 1) world.answer(roomSeq, 0, { roomId })
  await until('it is in', () => client.written.length > roomSeq)
  client.written.length = 0
  return client
}

function range (from: number, to: number, roomId = 'r'): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `${roomId} ${from + i}`)
}

t.test('A join', async t => {
  t.test('of the first member is told to the ledger, and answered once the owner has', async t => {
    const world = givenRooms(t)
    const client = await member(t, world)
    client.received(join('r', 2))
    await turn()
    t.strictSame(world.facts(), [{ type: 'NodeJoined', nodeId: 'n1', nodeEpoch: 7, interest: 1 }])
    t.strictSame(told(client), [])
    world.answer(4)
    await turn()
    t.strictSame(told(client), ['joined r 2', 'r 3', 'r 4'])
  })

  t.test('of the others needs nobody else', async t => {
    const world = givenRooms(t)
    await inRoom(t, world, 4)
    const [fresh, returning] = [await member(t, world), await member(t, world)]
    fresh.received(join())
    returning.received(join('r', 3))
    await turn()
    t.strictSame([told(fresh), told(returning)], [['joined r 4'], ['joined r 3', 'r 4']])
    t.strictSame([world.interests(), world.asked.length], [1, 0])
  })

  t.test('is told how many posts are gone', async t => {
    const world = givenRooms(t)
    const client = await member(t, world)
    client.received(join('r', 2))
    await turn()
    world.answer(12, 10)
    await turn()
    t.strictSame(told(client), ['joined r 10 missed 8', 'r 11', 'r 12'])
    t.equal(world.asked.length, 0)
  })

  t.test('that names a post ahead of the room waits for what its owner knows', async t => {
    const world = givenRooms(t)
    await inRoom(t, world, 4)
    const client = await member(t, world)
    client.received(join('r', 6))
    await turn()
    t.strictSame(told(client), [])
    t.match(world.asked, [{ roomId: 'r', interest: 1, afterSeq: 4 }])
    world.answer(7)
    await turn()
    t.strictSame(told(client), ['joined r 6', 'r 7'], 'it was only that this edge did not know of them')
    const later = await member(t, world)
    later.received(join('r', 90))
    await turn()
    world.answer(7, 7)
    await turn()
    t.strictSame(told(later), ['joined r 7'], 'the numbers have begun anew')
  })

  t.test('of a room that it is in sets its place anew', async t => {
    const world = givenRooms(t)
    const client = await inRoom(t, world, 4)
    client.received(join('r', 2))
    await turn()
    t.strictSame(told(client), ['joined r 2', 'r 3', 'r 4'])
    client.received(join('r'))
    await turn()
    t.strictSame(told(client), ['joined r 4'])
    t.equal(world.interests(), 1)
  })

  t.test('is held until connected, and ends nothing where its room can not be stored', async t => {
    const world = givenRooms(t)
    world.refuse(true)
    const client = await member(t, world)
    client.received(join('r', 0))
    await turn()
    world.refuse(false)
    world.pass(2_000)
    await turn()
    world.answer(1)
    await turn()
    t.strictSame(told(client), ['joined r 0', 'r 1'])
  })
})

t.test('What a client may not do', async t => {
  t.test('is to join without the right to read, or to post without the right to', async t => {
    const world = givenRooms(t)
    const client = await member(t, world, { news: 'r', inbox: 'w' })
    client.received(join('chat:7'), join('inbox'), { ...uplinks(1, 1)[0]!, roomId: 'news' } as Frame)
    await turn()
    t.strictSame(told(client), ['left chat:7 forbidden', 'left inbox forbidden', 'uplinkRefused'])
    t.equal(world.interests(), 0)
    t.strictSame(client.uplinksAppended(), [])
    client.received({ ...uplinks(1, 1)[0]!, roomId: 'inbox' } as Frame)
    await turn()
    t.strictSame(client.uplinksAppended(), [1], 'who may post need not be in the room')
  })

  t.test('is to leave a room that it is not in', async t => {
    const client = await member(t, givenRooms(t))
    client.received(leave())
    await turn()
    t.strictSame(told(client), ['left r not-found'])
  })

  const badIds = ['', 'x'.repeat(257), 'é'.repeat(129), 'a\u0000', 'a\u007f', 'line\nfeed', '\ud800', 'a\u0085']
  for (const roomId of badIds) {
    t.test(`is to name ${JSON.stringify(roomId).slice(0, 20)} for a room`, async t => {
      for (const frame of [join(roomId), leave(roomId), { ...uplinks(1, 1)[0]!, roomId } as Frame]) {
        if (roomId === '' && frame.op === 'uplink') continue // which is none
        const world = givenRooms(t)
        const client = await member(t, world)
        client.received(frame)
        await turn()
        t.strictSame(told(client), ['error bad-frame'])
        t.equal(world.interests(), 0)
      }
    })
  }

  t.test('is to be at a place below none', async t => {
    const client = await member(t, givenRooms(t))
    client.received(join('r', -2))
    await turn()
    t.strictSame(told(client), ['error protocol'])
  })

  t.test('is to be in more rooms than it may', async t => {
    const world = givenRooms(t, { roomsMax: 3 })
    const client = await member(t, world)
    client.received(...Array.from({ length: 10_000 }, (_, i) => join(`r${i}`)))
    await turn()
    const lefts = told(client)
    t.equal(lefts.length, 9_997)
    t.strictSame([...new Set(lefts.map(each => each.split(' ')[2]))], ['too-many-rooms'])
    t.equal(world.interests(), 3, 'the ledger hears of no more than it is in')
    client.received(leave('r0'), join('another'))
    await turn()
    t.strictSame(told(client), ['left r0 left'])
    t.equal(world.interests(), 4)
  })
})

t.test('Posts', async t => {
  t.test('go to each member once, in order', async t => {
    const world = givenRooms(t)
    const [a, b] = [await inRoom(t, world, 1), await inRoom(t, world, 1)]
    world.posts(2, 3)
    world.posts(3, 4)
    world.posts(1, 2)
    await turn()
    t.strictSame(told(a), range(2, 4))
    t.strictSame(told(b), range(2, 4))
    t.equal(world.count.posts, 2 + 6)
  })

  t.test('that are missing are asked for once, however many members there are', async t => {
    const world = givenRooms(t)
    const members = []
    for (let i = 0; i < 5; i++) members.push(await inRoom(t, world, 1))
    world.posts(4, 4)
    world.posts(5, 5)
    await turn()
    t.match(world.asked, [{ type: 'askRoom', afterSeq: 1, interest: 1 }])
    t.equal(world.asked.length, 1)
    world.answer(5, 1)
    world.posts(6, 6)
    await turn()
    for (const client of members) t.strictSame(told(client), range(2, 6))
  })

  t.test('that nobody keeps are told to be missed', async t => {
    const world = givenRooms(t)
    const client = await inRoom(t, world, 1)
    world.posts(9, 9)
    world.answer(9, 7)
    await turn()
    t.strictSame(told(client), ['joined r 7 missed 6', 'r 8', 'r 9'])
  })

  t.test('come no more behind left', async t => {
    const world = givenRooms(t)
    const [leaving, staying] = [await inRoom(t, world, 1), await inRoom(t, world, 1)]
    leaving.received(leave())
    await turn()
    world.posts(2, 2)
    await turn()
    t.strictSame([told(leaving), told(staying)], [['left r left'], ['r 2']])
  })

  t.test('of one room and another are not mixed', async t => {
    const world = givenRooms(t)
    const client = await member(t, world)
    client.received(join('a', 0), join('b', 0))
    await turn()
    world.answer(1, 0, { roomId: 'b' })
    world.answer(2, 0, { roomId: 'a' })
    await turn()
    t.strictSame(told(client).sort(), ['a 1', 'a 2', 'b 1', 'joined a 0', 'joined b 0'])
    t.match(world.rooms.rooms, 2)
  })

  t.test('of numbers that began anew are given from where those begin', async t => {
    const world = givenRooms(t)
    const client = await inRoom(t, world, 9)
    world.posts(12, 12)
    world.answer(3)
    await turn()
    t.match(world.facts().at(-1), { type: 'NodeJoined', interest: 2 }, 'to be sure that it was no owner of old')
    world.answer(3)
    await turn()
    t.strictSame(told(client), ['joined r 0', ...range(1, 3)])
  })

  t.test('of a room with many members leave room for those of others', async t => {
    const world = givenRooms(t)
    const crowd: GivenConnection[] = []
    for (let i = 0; i < 300; i++) crowd.push(await member(t, world))
    const other = await member(t, world)
    for (const client of crowd) client.received(join('crowd'))
    other.received(join('few'))
    await turn()
    world.answer(0, 0, { roomId: 'crowd' })
    world.answer(0, 0, { roomId: 'few' })
    await until('all are in', () => [...crowd, other].every(client => client.written.length === 1))
    world.posts(1, 1, 'crowd')
    world.posts(1, 1, 'few')
    await new Promise(resolve => setImmediate(resolve))
    t.match(told(other), ['joined few 0', 'few 1'])
    t.ok(crowd.some(client => client.written.length === 1), 'others wait for a later turn')
    await until('all have it', () => crowd.every(client => client.written.length === 2))
  })
})

t.test('A member that does not read', async t => {
  t.test('gets no more until it does, and costs the others nothing', async t => {
    const world = givenRooms(t, { queuedBytesMax: 1_000 })
    const [slow, quick] = [await inRoom(t, world, 1), await inRoom(t, world, 1)]
    slow.queues(1_000)
    world.posts(2, 40)
    await turn()
    world.posts(41, 41)
    await turn()
    t.strictSame(told(quick), range(2, 41))
    t.strictSame(told(slow), [])
    slow.queues(0)
    slow.tell({ type: 'drained' })
    await turn()
    t.strictSame(told(slow), range(2, 41))
    world.posts(42, 42)
    await turn()
    t.strictSame(told(slow), ['r 42'])
  })

  t.test('is told what it has missed where the posts are gone when it reads again', async t => {
    const world = givenRooms(t, { tail: { postsMax: 3, bytesMax: 1 << 20, ageMaxMs: 1_000 } })
    const [slow, quick] = [await inRoom(t, world, 1), await inRoom(t, world, 1)]
    slow.queues(1 << 20)
    for (let roomSeq = 2; roomSeq <= 10; roomSeq++) {
      world.posts(roomSeq, roomSeq)
      await turn()
    }
    t.strictSame(told(quick), range(2, 10))
    t.strictSame(world.asked, [], 'nobody is asked while it does not read')
    slow.queues(0)
    slow.tell({ type: 'drained' })
    await turn()
    t.match(world.asked, [{ afterSeq: 1 }], 'its owner may have them')
    world.answer(10, 8)
    await turn()
    t.strictSame(told(slow), ['joined r 7 missed 6', 'r 8', 'r 9', 'r 10'], 'the edge has one more than the owner')
    t.equal(world.asked.length, 1)
  })

  t.test('gets a tail that is longer than its queue in parts', async t => {
    const world = givenRooms(t, { queuedBytesMax: 1 })
    const client = await inRoom(t, world, 1)
    const writes: number[] = []
    client.connection.wire.bytesOf = () => {
      writes.push(1)
      return 100
    }
    world.posts(2, 5)
    await until('it has all', () => writes.length === 4)
    t.strictSame(told(client), range(2, 5))
  })
})

t.test('Rights that change', async t => {
  t.test('with a token end what it may no longer read', async t => {
    const world = givenRooms(t)
    const client = await member(t, world)
    client.received(join('a'), join('b'))
    await turn()
    for (const roomId of ['a', 'b']) world.answer(0, 0, { roomId })
    await turn()
    told(client)
    client.received({ op: 'token', token: 't' })
    await turn()
    client.letIn(identity({ rooms: RoomPatterns.of({ a: 'rw', b: 'w' })! }))
    await turn()
    t.strictSame(told(client), ['tokenAccepted', 'left b forbidden'])
    world.posts(1, 1, 'a')
    world.posts(1, 1, 'b')
    await turn()
    t.strictSame(told(client), ['a 1'])
  })

  t.test('by business make it a member, or no longer', async t => {
    const world = givenRooms(t)
    const client = await member(t, world, {})
    const tell = (version: number, rooms: MembershipsTold['rooms']) =>
      client.connection.tell({ type: 'memberships', nodeId: 'n1', connectionId: 'c1', version, rooms })
    tell(2, [{ roomId: 'chat:7', rights: 'rw' }, { roomId: 'inbox', rights: 'w' }])
    await turn()
    t.equal(world.facts('chat:7').length, 1)
    world.answer(5, 0, { roomId: 'chat:7' })
    await turn()
    t.strictSame(told(client), ['joined chat:7 5'])
    client.received(join('chat:7', 3), { ...uplinks(1, 1)[0]!, roomId: 'inbox' } as Frame)
    await turn()
    t.strictSame(told(client), ['joined chat:7 3', 'chat:7 4', 'chat:7 5'])
    t.strictSame(client.uplinksAppended(), [1])
    tell(1, [])
    await turn()
    t.strictSame(told(client), [], 'one that comes late is older')
    tell(3, [])
    await turn()
    client.connection.wire.flush()
    t.strictSame(told(client), ['left chat:7 forbidden'])
  })
})

t.test('A membership that business gives leaves a join its place', async t => {
  const given = (client: GivenConnection) => {
    const rooms = [{ roomId: 'r', rights: 'rw' }] as const
    client.connection.tell({ type: 'memberships', nodeId: 'n1', connectionId: 'c1', version: 1, rooms })
  }
  t.test('that waits for the room to be open', async t => {
    const world = givenRooms(t)
    const client = await member(t, world)
    client.received(join('r', 2))
    await turn()
    given(client)
    await turn()
    world.answer(4)
    await turn()
    t.strictSame(told(client), ['joined r 2', 'r 3', 'r 4'])
  })

  t.test('that waits for what the owner knows', async t => {
    const world = givenRooms(t)
    await inRoom(t, world, 4)
    const client = await member(t, world)
    client.received(join('r', 6))
    await turn()
    given(client)
    await turn()
    world.answer(8)
    await until('it is in', () => client.written.length > 0)
    t.strictSame(told(client), ['joined r 6', 'r 7', 'r 8'])
  })
})

t.test('The interest of a node', async t => {
  t.test('ends a while after the last member has left', async t => {
    const world = givenRooms(t)
    const client = await inRoom(t, world, 1)
    client.received(leave())
    await turn()
    world.pass(9_900)
    t.equal(world.interests(), 1)
    client.received(join('r', 1))
    await turn()
    t.equal(told(client).at(-1), 'joined r 1', 'who comes back meanwhile is answered at once')
    world.pass(60_000)
    t.equal(world.interests(), 1)
    client.leaves(true)
    await turn()
    world.pass(10_000)
    t.match(world.facts().at(-1), { type: 'NodeLeft', nodeEpoch: 7, interest: 1, code: 'left' })
    t.equal(world.rooms.rooms, 0)
    t.equal(world.rooms.tailBytes, 0)
  })

  t.test('is told anew, with longer and longer waits, while it is not answered', async t => {
    const world = givenRooms(t)
    const client = await member(t, world)
    client.received(join('r', 0))
    await turn()
    for (let s = 0; s < 60; s++) world.pass(1_000)
    const interests = world.facts().map(fact => fact.type === 'NodeJoined' ? fact.interest : 0)
    t.strictSame(interests, [1, 2, 3, 4, 5], 'after 2, 4, 8 and 16 s')
    world.answer(1, 0, { interest: 4 })
    await turn()
    t.strictSame(told(client), [], 'an answer to an older one may know less')
    world.answer(1)
    await turn()
    t.strictSame(told(client), ['joined r 0', 'r 1'])
  })

  t.test('ends where posts come that nobody wants', async t => {
    const world = givenRooms(t)
    world.posts(1, 1, 'unwanted')
    world.posts(2, 2, 'unwanted')
    t.match(world.facts('unwanted'), [{ type: 'NodeLeft', nodeEpoch: 7 }])
    t.equal(world.interests(), 1)
    world.pass(10_000)
    world.posts(3, 3, 'unwanted')
    t.equal(world.interests(), 2)
  })

  t.test('begins anew where the node was taken for lost', async t => {
    const world = givenRooms(t)
    const client = await inRoom(t, world, 1)
    world.rooms.startAnew()
    world.answer(2)
    await turn()
    t.match(world.facts().at(-1), { type: 'NodeJoined', interest: 2 })
    t.strictSame(told(client), ['r 2'])
  })

  t.test('begins anew with the posts that are kept here, where the owner keeps fewer', async t => {
    const world = givenRooms(t)
    await inRoom(t, world, 10)
    world.rooms.startAnew()
    world.answer(12, 8)
    const client = await member(t, world)
    client.received(join('r', 3))
    await turn()
    t.strictSame(told(client), ['joined r 3', ...range(4, 12)])
    world.rooms.startAnew()
    world.answer(20, 15)
    await turn()
    client.received(join('r', 3))
    await turn()
    t.strictSame(told(client).slice(-6), ['joined r 15 missed 12', ...range(16, 20)], 'what neither has is gone')
  })

  t.test('ends with the node', async t => {
    const world = givenRooms(t)
    await inRoom(t, world, 1)
    await world.rooms.stop()
    t.match(world.facts().at(-1), { type: 'NodeLeft', interest: 1, code: 'left' })
  })

  t.test('of rooms that were left in a row is bounded', async t => {
    const world = givenRooms(t, { lingeringMax: 10 })
    const client = await member(t, world)
    for (let i = 0; i < 50; i++) client.received(join(`r${i}`), leave(`r${i}`))
    await turn()
    t.equal(world.rooms.rooms, 10)
  })
})

t.test('What members were given', async t => {
  t.test('is told soon after a first post, and then once in 30 s', async t => {
    const world = givenRooms(t)
    await inRoom(t, world, 1)
    world.pass(900)
    t.strictSame(world.reports(), [])
    world.pass(100)
    t.strictSame(world.reports(), ['1 1/0'])
    for (let seq = 2; seq <= 11; seq++) {
      world.posts(seq, seq)
      await turn()
      world.pass(2_000)
    }
    t.strictSame(world.reports(), ['1 1/0'])
    world.pass(10_000)
    t.strictSame(world.reports(), ['1 1/0', '11 1/0'])
    world.pass(60_000)
    t.strictSame(world.reports(), ['1 1/0', '11 1/0'], 'nothing new is no report')
  })

  t.test('is told of rooms that are left, before that', async t => {
    const world = givenRooms(t)
    const client = await inRoom(t, world, 3)
    client.leaves(true)
    await turn()
    world.posts(4, 4)
    await turn()
    world.pass(10_000)
    t.match(world.facts().slice(-2), [
      { type: 'PostsDelivered', nodeEpoch: 7, interest: 1, roomSeq: 4, members: 0 }, { type: 'NodeLeft', interest: 1 },
    ])
    world.pass(60_000)
    t.strictSame(world.reports(), ['4 0/0'])
  })

  t.test('is told with how many read too slowly', async t => {
    const world = givenRooms(t)
    const [slow] = [await inRoom(t, world, 1), await inRoom(t, world, 1)]
    slow.queues(1 << 20)
    world.posts(2, 2)
    await turn()
    world.pass(1_000)
    t.strictSame(world.reports(), ['2 2/1'])
  })

  t.test('is told again where that can not be stored', async t => {
    const world = givenRooms(t)
    await inRoom(t, world, 1)
    world.refuse(true)
    world.pass(1_000)
    await turn()
    world.refuse(false)
    world.pass(30_000)
    t.strictSame(world.reports(), ['1 1/0'])
  })

  t.test('is told of many rooms in the course of some seconds', async t => {
    const world = givenRooms(t, { roomsMax: 250 })
    const client = await member(t, world)
    for (let i = 0; i < 250; i++) client.received(join(`r${i}`, 0))
    await turn()
    for (let i = 0; i < 250; i++) world.answer(1, 0, { roomId: `r${i}` })
    await until('all is written', () => client.written.length === 500)
    await turn()
    const reported = () => Array.from({ length: 250 }, (_, i) => world.reports(`r${i}`).length).reduce((a, b) => a + b)
    world.pass(1_000)
    t.equal(reported(), 100)
    world.pass(1_000)
    world.pass(1_000)
    t.equal(reported(), 250)
  })
})

t.test('Where messages may be lost, the owner is asked now and then what there is', async t => {
  const world = givenRooms(t, {}, true)
  const client = await inRoom(t, world, 1)
  for (let s = 0; s < 6; s++) world.pass(1_000)
  t.match(world.asked[0], { afterSeq: 1 })
  world.answer(2, 1)
  await turn()
  t.strictSame(told(client), ['r 2'])
})

t.test('A room is not asked about while posts come, and less and less while none do', async t => {
  const world = givenRooms(t, {}, true)
  await inRoom(t, world, 1)
  let roomSeq = 1
  const asked = (seconds: number) => {
    const before = world.asked.length
    for (let s = 0; s < seconds; s++) {
      world.pass(1_000)
      if (world.asked.length > before) world.answer(roomSeq, roomSeq)
    }
    return world.asked.length - before
  }
  for (let n = 0; n < 10; n++) {
    t.equal(asked(4), 0)
    world.posts(++roomSeq, roomSeq)
  }
  t.strictSame([asked(5), asked(10), asked(20), asked(40), asked(80), asked(160), asked(160)], [1, 1, 1, 1, 1, 1, 1])
  world.posts(++roomSeq, roomSeq)
  t.strictSame([asked(4), asked(2)], [0, 1], 'from the first post on as before')
})

t.test('Where this node may be behind, a join without a place waits for what the owner knows', async t => {
  const world = givenRooms(t, {}, true)
  const client = await inRoom(t, world, 8)
  const [first, second] = [await member(t, world), await member(t, world)]
  first.received(join())
  second.received(join())
  await turn()
  t.strictSame([told(first), told(second)], [[], []])
  t.match(world.asked, [{ afterSeq: 8 }])
  const third = await member(t, world)
  third.received(join())
  await turn()
  t.equal(world.asked.length, 1, 'one question at a time')
  world.answer(10, 8)
  await until('all have it', () => [client, first, second].every(({ written }) => written.length > 0))
  await turn()
  t.strictSame([told(client), told(first), told(second), told(third)], [range(9, 10), ['joined r 10'], ['joined r 10'], []])
  t.equal(world.asked.length, 2, 'for who came after the first one was asked')
  world.answer(10, 10)
  await until('it is in', () => third.written.length > 0)
  t.strictSame(told(third), ['joined r 10'])
  t.equal(world.asked.length, 2)
})

t.test('A room that is closed lets nobody in, and its members go', async t => {
  const world = givenRooms(t)
  const client = await inRoom(t, world, 1)
  world.posts(2, 2)
  world.answer(2, 2, { closed: true, reason: 'the show is over' })
  await turn()
  t.strictSame(told(client), ['r 2', 'left r room-closed'])
  client.received(join('r', 0))
  await turn()
  t.strictSame(told(client), ['left r room-closed'])
  world.pass(10_000)
  t.equal(world.rooms.rooms, 0)
})

t.test('A room that is closed lets its members go once they have all its posts', async t => {
  const world = givenRooms(t, { queuedBytesMax: 1_000 })
  const [slow, quick] = [await inRoom(t, world, 1), await inRoom(t, world, 1)]
  slow.queues(1_000)
  world.posts(2, 2)
  world.answer(4, 0, { closed: true, reason: 'the show is over' })
  await turn()
  t.strictSame([told(slow), told(quick)], [[], [...range(2, 4), 'left r room-closed']])
  slow.queues(0)
  slow.tell({ type: 'drained' })
  await turn()
  t.strictSame(told(slow), [...range(2, 4), 'left r room-closed'])
  world.pass(10_000)
  t.equal(world.rooms.rooms, 0)
})

t.test('A room that is closed lets each of many members go', async t => {
  const world = givenRooms(t)
  const crowd: GivenConnection[] = []
  for (let i = 0; i < 150; i++) {
    const client = await member(t, world)
    client.received(join())
    crowd.push(client)
  }
  await turn()
  world.answer(3)
  await until('all are in', () => crowd.every(({ written }) => written.length === 1))
  world.answer(3, 3, { closed: true })
  await until('all have left', () => crowd.every(({ written }) => written.length === 2))
  t.ok(crowd.every(client => told(client).at(-1) === 'left r room-closed'))
})

t.test('A signal goes to each member that reads', async t => {
  const world = givenRooms(t)
  const [a, b, slow] = [await inRoom(t, world, 1), await inRoom(t, world, 1), await inRoom(t, world, 1)]
  slow.queues(1 << 20)
  world.signal()
  world.signal('another')
  await turn()
  t.match(a.written, [{ op: 'signal', roomId: 'r', service: 'typing' }])
  t.strictSame([a.written.length, b.written.length, slow.written.length, world.count.signals], [1, 1, 0, 2])
})

t.test('Signals that wait to be written', async t => {
  const mib = 1 << 20
  t.test('are bounded in bytes, of all rooms together', async t => {
    const world = givenRooms(t)
    const roomIds = Array.from({ length: 10 }, (_, i) => `r${i}`)
    for (const roomId of roomIds) await inRoom(t, world, 1, roomId)
    for (const roomId of roomIds) for (let i = 0; i < 200; i++) world.signal(roomId, Buffer.alloc(60_000))
    const waiting = world.rooms.signalsBytes
    t.ok(waiting > 15 * mib && waiting <= 16 * mib, `${waiting} bytes`)
    await until('all are written, or lost', () => world.rooms.signalsBytes === 0)
    t.ok(world.count.signals > 0)
  })
})

t.test('The posts that are kept', async t => {
  t.test('are bounded in number, bytes and age', async t => {
    for (const tail of [{ postsMax: 5 }, { bytesMax: 5 * 1_600 }]) {
      const world = givenRooms(t, { tail: { postsMax: 1_000, bytesMax: 1 << 20, ageMaxMs: 1_000, ...tail } })
      await inRoom(t, world, 0)
      world.posts(1, 100, 'r', Buffer.alloc(1_000))
      await turn()
      t.ok(world.rooms.tailBytes > 0 && world.rooms.tailBytes <= 5 * 1_600, `${world.rooms.tailBytes} bytes`)
    }
  })

  t.test('of all rooms have a bound, and what is gone for it is asked for', async t => {
    const world = givenRooms(t, { tailsBytesMax: 40_000 })
    const client = await member(t, world)
    client.received(...Array.from({ length: 20 }, (_, i) => join(`r${i}`, 0)))
    await turn()
    for (let i = 0; i < 20; i++) world.answer(0, 0, { roomId: `r${i}` })
    for (let i = 0; i < 20; i++) world.posts(1, 4, `r${i}`, Buffer.alloc(1_000))
    await turn()
    t.ok(world.rooms.tailBytes <= 40_000, `${world.rooms.tailBytes} bytes`)
    for (const { roomId } of world.asked) world.answer(4, 0, { roomId })
    await turn()
    const got = told(client)
    for (let i = 0; i < 20; i++) {
      t.strictSame(got.filter(each => each.startsWith(`r${i} `)), range(1, 4, `r${i}`), `all posts of room ${i}`)
    }
  })

  t.test('of a room that is silent go after their age, and are asked for by who comes back', async t => {
    for (const mayLose of [false, true]) {
      const world = givenRooms(t, { tail: { postsMax: 1_000, bytesMax: 1 << 20, ageMaxMs: 3_600_000 } }, mayLose)
      await inRoom(t, world, 0)
      world.posts(1, 3)
      await turn()
      const answers = () => { // they tell of nothing new
        if (world.asked.length > 0) world.answer(3, 3)
        world.asked.length = 0
      }
      for (let minute = 0; minute < 59; minute++) {
        world.pass(60_000)
        answers()
      }
      await turn()
      t.ok(world.rooms.tailBytes > 0)
      world.pass(120_000)
      answers()
      await turn()
      t.equal(world.rooms.tailBytes, 0, `${mayLose}`)
      const back = await member(t, world)
      back.received(join('r', 1))
      await turn()
      t.match(world.asked, [{ afterSeq: 1 }])
      world.answer(3, 1)
      await turn()
      t.strictSame(told(back), ['joined r 1', 'r 2', 'r 3'])
      t.ok(world.rooms.tailBytes > 0, 'and are kept for others')
    }
  })
})

t.test('Members are told by connection id, some at a time', async t => {
  const world = givenRooms(t)
  const clients = []
  for (let i = 0; i < 5; i++) clients.push(await inRoom(t, world, 0))
  const ids = clients.map(({ connection }) => connection.connectionId).sort()
  const ask = { type: 'askMembers', nodeId: 'n1', askNodeId: 'n2', askId: 3, roomId: 'r' } as const
  world.rooms.received({ ...ask, after: '', limit: 3 })
  world.rooms.received({ ...ask, after: ids[2]!, limit: 3 })
  world.rooms.received({ ...ask, roomId: 'another', after: '', limit: 3 })
  t.match(world.answers, [
    { nodeId: 'n2', askId: 3, total: 5, members: ids.slice(0, 3).map(connectionId => ({ userId: 'ann', deviceId: 'phone', connectionId })) },
    { total: 5, members: ids.slice(3).map(connectionId => ({ connectionId })) },
    { total: 0, members: [] },
  ])
})

t.test('Members that are counted, or were told before, are not looked at', async t => {
  const world = givenRooms(t)
  const looked: string[] = []
  const clients = []
  for (let i = 0; i < 5; i++) clients.push(await inRoom(t, world, 0))
  for (const { connection } of clients) {
    const { connectionId, deviceId } = connection
    Object.defineProperty(connection, 'deviceId', {
      get () {
        looked.push(connectionId)
        return deviceId
      }
    })
  }
  const ids = clients.map(({ connection }) => connection.connectionId).sort()
  const ask = { type: 'askMembers', nodeId: 'n1', askNodeId: 'n2', askId: 3, roomId: 'r' } as const
  world.rooms.received({ ...ask, after: '', limit: 0 })
  t.match(world.answers, [{ members: [], total: 5 }])
  t.strictSame(looked, [])
  world.rooms.received({ ...ask, after: ids[2]!, limit: 1 })
  t.strictSame(looked, [ids[3]])
})
