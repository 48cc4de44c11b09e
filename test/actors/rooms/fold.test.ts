import t from 'tap'
import { tailAgeMaxMs, tailBytesMax, tailMax } from '../../../actors/rooms/tail.js'
import { foldRoom } from '../../../actors/rooms/fold.js'
import { maybeSilent, roomStates } from '../../../actors/rooms/parts.js'
import { silenceOf } from '../../../actors/rooms/silence.js'
import { leftMax } from '../../../actors/rooms/state.js'
import { at, joined, left, play, posted, roomClosed, roomOf, said, SavedRoom, silent } from './given-room.js'

t.test('PostRequested', async t => {
  t.test('gets the next number, whoever posts', async t => {
    t.strictSame(play(roomOf(), posted('m1'), said('ann', 1, [0, 5, 0]), posted('m2')),
      ['post 1 m1', 'post 2 ann/1', 'post 3 m2'])
  })
  t.test('is published with all that was said, in bytes of its own', async t => {
    const payload = Buffer.from('hello')
    const fact = { ...said('ann', 3, [0, 5, 0]), payload } as ReturnType<typeof said>
    const [effect] = foldRoom(roomOf(), at(7, fact))
    payload.fill(0)
    t.strictSame(effect, {
      type: 'post',
      post: {
        roomId: 'chat:7',
        roomSeq: 1,
        messageId: 'ann/3',
        from: 'ann',
        service: '',
        payload: Buffer.from('hello'),
        postedAtMs: 7,
      },
    })
  })
  t.test('of a business service is a repeat where its id was had, whatever it says now', async t => {
    t.strictSame(play(roomOf(posted('m1')), posted('m1'), posted('m1', 'something else'), posted('m2')), ['post 2 m2'])
  })
  t.test('of an uplink is a repeat where its place in the ledger is not behind the last, however long ago', async t => {
    const state = roomOf(said('ann', 1, [0, 5, 0]), said('ann', 2, [0, 5, 3]), said('bob', 1, [1, 2, 0]))
    for (let i = 0; i < 20_000; i++) play(state, said('cleo', i + 1, [2, i, 0]))
    const before = state.tail.roomSeq
    t.strictSame(play(state, said('ann', 1, [0, 5, 0]), said('ann', 2, [0, 5, 3]), said('bob', 1, [1, 2, 0])), [])
    t.strictSame(play(state, said('ann', 3, [0, 5, 4]), said('bob', 2, [1, 3, 0])),
      [`post ${before + 1} ann/3`, `post ${before + 2} bob/2`])
  })
  t.test('is not a repeat of an uplink that happens to be called so', async t => {
    t.strictSame(play(roomOf(posted('ann/1')), said('ann', 1, [0, 5, 0])), ['post 2 ann/1'])
  })
  t.test('is taken no more where the room is closed', async t => {
    const state = roomOf(posted('m1'), roomClosed())
    t.strictSame(play(state, posted('m2'), said('ann', 1, [0, 5, 0])), [])
    t.equal(state.tail.roomSeq, 1)
  })
})

t.test('The tail of a room', async t => {
  t.test('has the last posts, up to a number of them', async t => {
    const state = roomOf()
    for (let i = 1; i <= tailMax + 5; i++) play(state, posted(`m${i}`))
    t.equal(state.tail.posts.length, tailMax)
    t.equal(state.tail.keptAfter, 5)
    t.equal(state.tail.posts[0]!.roomSeq, 6)
  })
  t.test('has a bound in bytes, and the last post whatever its size', async t => {
    const state = roomOf()
    for (let i = 1; i <= 10; i++) play(state, posted(`m${i}`, 'x'.repeat(tailBytesMax / 4)))
    t.equal(state.tail.posts.length, 3)
    t.ok(state.tail.bytes <= tailBytesMax)
    play(state, posted('large', 'x'.repeat(2 * tailBytesMax)))
    t.strictSame(state.tail.posts.map(({ messageId }) => messageId), ['large'])
    play(state, posted('small'))
    t.strictSame(state.tail.posts.map(({ messageId }) => messageId), ['small'])
    t.ok(state.tail.bytes < 1_000)
  })
  t.test('has no post of more than an hour ago, though one is dated a year ahead', async t => {
    const state = roomOf()
    const post = (messageId: string, atMs: number) => foldRoom(state, at(atMs, posted(messageId)))
    for (let i = 0; i < 20; i++) post(`old ${i}`, i)
    post('of a clock that is wrong', 365 * 86_400_000)
    t.equal(state.tail.posts.length, 21, 'which drops nothing')
    for (let i = 0; i < 10; i++) post(`new ${i}`, 2 * tailAgeMaxMs + i)
    t.strictSame(state.tail.posts.map(({ messageId }) => messageId),
      ['of a clock that is wrong', ...Array.from({ length: 10 }, (_, i) => `new ${i}`)])
  })
  t.test('gives what is after a place, the newest where not all fit', async t => {
    const { tail } = roomOf(posted('m1'), posted('m2'), posted('m3'), posted('m4'))
    const seqs = (afterSeq: number, bytesMax: number) => tail.after(afterSeq, bytesMax).map(({ roomSeq }) => roomSeq)
    t.strictSame(seqs(0, 100), [1, 2, 3, 4])
    t.strictSame(seqs(2, 100), [3, 4])
    t.strictSame(seqs(0, 5), [3, 4], 'each has two bytes')
    t.strictSame(seqs(0, 0), [4], 'one comes in any case')
    t.strictSame(seqs(4, 100), [])
    t.strictSame(seqs(9, 100), [], 'from a place ahead of the room')
  })
})

t.test('NodeJoined', async t => {
  t.test('makes a node a member of the room, once', async t => {
    t.strictSame(play(roomOf(), joined('n1', 1), joined('n1', 1), joined('n2', 4)), ['joined n1 1', 'joined n2 4'])
  })
  t.test('counts for a newer interest and a newer life of the node, not for an older one', async t => {
    const state = roomOf(joined('n1', 5, 10))
    t.strictSame(play(state, joined('n1', 4, 10), joined('n1', 9, 9)), [])
    t.strictSame(play(state, joined('n1', 6, 10), joined('n1', 1, 11)), ['joined n1 6', 'joined n1 1'])
    t.strictSame([...state.nodes], [['n1', { nodeEpoch: 11, interest: 1 }]])
  })
  t.test('that comes once more after its end brings nobody back', async t => {
    const state = roomOf(posted('m1'), joined('n1', 1), left('n1', 1))
    t.strictSame(play(state, joined('n1', 1)), [])
    t.equal(state.nodes.size, 0)
    t.strictSame(play(state, joined('n1', 2)), ['joined n1 2'])
  })
  t.test('is answered where the room is closed', async t => {
    const state = roomOf(roomClosed())
    t.strictSame(play(state, joined('n1', 1)), ['joined n1 1'])
    t.equal(state.nodes.size, 0)
  })
})

t.test('NodeLeft', async t => {
  t.test('ends nothing that is newer', async t => {
    const state = roomOf(joined('n1', 2, 10))
    play(state, left('n1', 1, 10), left('n1', 7, 9))
    t.equal(state.nodes.size, 1)
    play(state, left('n1', 2, 10))
    t.equal(state.nodes.size, 0)
  })
  t.test('is remembered of so many nodes', async t => {
    const state = roomOf(posted('m1'))
    for (let i = 0; i < 2 * leftMax; i++) play(state, joined(`n${i}`, 1), left(`n${i}`, 1))
    t.equal(state.left.size, leftMax)
    t.ok(state.left.has(`n${2 * leftMax - 1}`))
  })
})

t.test('A room without a post', async t => {
  t.test('is as it was before once nobody is in it, and nothing of it is saved', async t => {
    const saved = new SavedRoom()
    const state = roomOf(joined('n1', 1))
    saved.save(roomStates.changesOf(state))
    t.ok(saved.head)
    play(state, left('n1', 1))
    t.strictSame(roomStates.comparable(state), roomStates.comparable({ ...roomStates.fresh(), offset: state.offset }))
    saved.save(roomStates.changesOf(state))
    t.strictSame([saved.head, saved.parts.size, roomStates.savedStateOf(state)], [undefined, 0, undefined])
  })
  t.test('is kept where it is closed', async t => {
    const saved = new SavedRoom()
    saved.save(roomStates.changesOf(roomOf(joined('n1', 1), roomClosed())))
    t.equal(saved.loaded().closed, true)
  })
})

t.test('RoomClosed', async t => {
  t.test('is told to each node that has members, once', async t => {
    const state = roomOf(joined('n1', 3), joined('n2', 1))
    t.strictSame(play(state, roomClosed(), roomClosed()), ['closed n1 3', 'closed n2 1'])
    t.equal(state.closeReason, 'over')
    t.strictSame(roomStates.stateOf(roomStates.savedStateOf(state)!).closed, true)
  })
})

t.test('A room that was rebuilt while a save was on its way leaves none of its posts behind', async t => {
  const large = ['m1', 'm2', 'm3', 'm4'].map(messageId => posted(messageId, messageId.repeat(tailBytesMax / 6)))
  const saved = new SavedRoom()
  const onItsWay = roomStates.changesOf(roomOf(large[0]!))
  const rebuilt = saved.loaded()
  roomStates.rebuilding(rebuilt)
  play(rebuilt, ...large)
  t.equal(rebuilt.tail.keptAfter, 2, 'the first post is gone already')
  saved.save(onItsWay)
  saved.save(roomStates.changesOf(rebuilt))
  t.strictSame([...saved.parts.keys()].filter(id => id.startsWith('m')), ['m3', 'm4'])
  t.strictSame(saved.strays, [])
})

t.test('RoomFellSilent', async t => {
  t.test('lets go of the posts, requests and nodes that a room keeps, and of nothing else', async t => {
    const saved = new SavedRoom()
    const state = roomOf(posted('m1'), said('ann', 1, [0, 5, 0]), joined('n1', 1), left('n1', 1))
    saved.save(roomStates.changesOf(state))
    t.strictSame([...saved.parts.keys()].toSorted(), ['m1', 'm2', 'n0', 'r0', 't0'])
    t.strictSame(play(state, silent(2)), [])
    saved.save(roomStates.changesOf(state))
    t.strictSame([...saved.parts.keys()], ['t0'])
    const loaded = saved.loaded()
    t.match(loaded.tail, { roomSeq: 2, keptAfter: 2, bytes: 0 })
    t.strictSame(play(loaded, said('ann', 1, [0, 5, 0]), posted('m1')), ['post 3 m1'], 'its numbers go on, uplinks are known')
  })
  t.test('comes too late where somebody has posted since, or is there', async t => {
    for (const state of [roomOf(posted('m1'), posted('m2')), roomOf(posted('m1'), joined('n1', 1))]) {
      play(state, silent(1))
      t.equal(state.tail.keptAfter, 0)
    }
  })
  t.test('changes nothing the second time', async t => {
    const state = roomOf(posted('m1'), silent(1))
    roomStates.changesOf(state)
    play(state, silent(1))
    t.strictSame(roomStates.changesOf(state).gone, [])
  })
  t.test('is due of a room that nobody has used since some time, with something to let go of', async t => {
    const dayMs = 86_400_000
    const used = roomOf()
    for (const fact of [posted('m1'), joined('n1', 1), left('n1', 1)]) foldRoom(used, at(dayMs, fact))
    const due = (state: ReturnType<typeof roomOf>, beforeMs: number) =>
      [silenceOf(state, beforeMs), maybeSilent(roomStates.savedStateOf(state)!.head, beforeMs)]
    t.strictSame(due(used, dayMs), [undefined, false])
    t.strictSame(due(used, dayMs + 1), [{ type: 'RoomFellSilent', roomSeq: 1, sinceMs: dayMs }, true])
    foldRoom(used, at(2 * dayMs, joined('n1', 2)))
    t.strictSame(due(used, dayMs + 1), [undefined, false], 'who comes uses it')
    t.strictSame(due(used, 3 * dayMs), [undefined, true], 'who is there does, too, which the head does not say')
    foldRoom(used, at(3 * dayMs, left('n1', 2)))
    t.strictSame(due(used, 3 * dayMs), [undefined, false], 'until he has left')
    play(used, silent(1))
    t.strictSame(due(used, 9 * dayMs), [undefined, false], 'it has nothing any more')
    t.equal(maybeSilent(Buffer.from('not a head'), 1), false)
    t.equal(maybeSilent(roomStates.unsavable('too large'), 1), false)
  })
})
