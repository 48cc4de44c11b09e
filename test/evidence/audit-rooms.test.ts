import fc from 'fast-check'
import t, { type Test } from 'tap'
import { postOf } from '../../actors/forwarder.js'
import { foldRoom } from '../../actors/rooms/fold.js'
import { newRoom, type RoomState } from '../../actors/rooms/state.js'
import { fold } from '../../actors/user/fold.js'
import { newUser } from '../../actors/user/state.js'
import type { Entry } from '../../schemas/facts.js'
import type { Posted } from '../../schemas/records.js'
import type { RoomEntry, RoomFact } from '../../schemas/room-facts.js'
import { joined, left, posted, roomClosed, roomId } from '../actors/rooms/given-room.js'
import { at, opened, uplink } from '../actors/user/history.js'
import { auditOf, inBlocks, nodeStarted, othersReports, readerOf } from './audit-given.js'

const nowMs = 100_000

/** Streams as a gateway leaves them of which ann posts by uplinks, and business as well. */
interface Given { ledger: Entry[], uplinks: object[], rooms: RoomEntry[], posts: Posted[], nodes: object[] }

function given (rooms: readonly RoomFact[], said = 3): Given {
  const ledger: Entry[] = [at(0, opened('c1'))]
  const entries: RoomEntry[] = []
  for (let seq = 1; seq <= said; seq++) ledger.push(at(seq, { ...uplink('c1', seq), roomId } as never))
  const uplinks: object[] = []
  const user = newUser()
  for (const [offset, entry] of ledger.entries()) {
    for (const effect of fold(user, entry)) {
      if (effect.type === 'publishUplink') uplinks.push(effect.uplink)
      if (effect.type !== 'post') continue
      entries.push(postOf(entry, effect.fact, effect.userSeq, { partition: 0, offset: BigInt(offset), index: 0 }))
    }
  }
  entries.push(...rooms.map((fact, i) => ({ roomId, atMs: 10_000 + i, fact })))
  return { ledger, uplinks, rooms: entries, posts: postsOf(entries), nodes: [nodeStarted] }
}

function postsOf (entries: readonly RoomEntry[]): Posted[] {
  const states = new Map<string, RoomState>()
  return entries.flatMap(entry => {
    const state = states.get(entry.roomId) ?? newRoom()
    states.set(entry.roomId, state)
    return foldRoom(state, entry).flatMap(effect => effect.type === 'post' ? [effect.post] : [])
  })
}

async function judge (streams: Given, options: object = {}) {
  const blocks = Object.entries(streams).map(([name, items]) => [name, inBlocks<any>(items, [1])])
  const log = readerOf(Object.fromEntries(blocks))
  const { books, violations } = await auditOf(log, { nowMs, ...options })
  return { rooms: books.rooms, violations, codes: violations.map(({ code }) => code) }
}

function delivered (nodeId: string, roomSeq: number, nodeEpoch = 1): RoomFact {
  return { type: 'PostsDelivered', nodeId, nodeEpoch, interest: 1, roomSeq, members: 1, behind: 0 }
}

const lively: RoomFact[] = [
  joined('n1', 1), posted('m1'), posted('m1'), delivered('n1', 4), posted('m2'), left('n1', 1), posted('m3'),
  roomClosed(), posted('m4'),
]

t.test('The audit of rooms', async t => {
  t.test('finds nothing wrong where all is as it must be, and its books balance', async t => {
    const { rooms, codes } = await judge(given(lively))
    t.strictSame(codes, [])
    t.match(rooms, {
      rooms: 1, requested: 8, numbered: 6, duplicates: 1, refused: 1, published: 6, due: 0, uplinks: 3, uplinksDue: 0,
    })
    t.strictSame(rooms.deliveries, { owed: 2, given: 1, unreported: { left: 1 }, due: 0, orphaned: 0 })
  })

  t.test('counts what is still on its way', async t => {
    const streams = given([joined('n1', 1), posted('m1')])
    streams.posts.pop()
    streams.rooms.splice(2, 1) // the last uplink
    streams.posts = postsOf(streams.rooms).slice(0, -1)
    const { rooms, codes } = await judge(streams)
    t.strictSame(codes, [])
    t.match(rooms, { due: 1, uplinks: 2, uplinksDue: 1, deliveries: { owed: 1, due: 1 } })
  })

  t.test('takes repeats of a replay for what they are', async t => {
    const streams = given(lively)
    streams.rooms.splice(3, 0, ...streams.rooms.slice(1, 3))
    streams.posts = postsOf(streams.rooms)
    t.strictSame((await judge(streams)).codes, [])
    streams.posts.splice(3, 0, ...streams.posts.slice(1, 3))
    t.match(await judge(streams, { exact: false }), { codes: [], rooms: { repeats: 2 } })
    t.strictSame((await judge(streams)).codes, ['post-repeated', 'post-repeated'])
  })

  const faults: Array<[string, string[], (streams: Given) => void]> = [
    ['an uplink that was never posted', ['uplink-unposted'], streams => {
      streams.rooms.splice(1, 1)
      streams.rooms = streams.rooms.filter(({ fact: { type } }) => type !== 'PostsDelivered')
      streams.posts = postsOf(streams.rooms)
    }],
    ['a post of an uplink that nobody accepted', ['posted-unexplained'], streams => {
      streams.ledger[2] = at(2, uplink('c1', 2))
      streams.uplinks[1] = { ...streams.uplinks[1], roomId: '' }
    }],
    ['a post of an uplink with another payload', ['posted-differs'], streams => {
      const { fact } = streams.rooms[1]!
      if (fact.type !== 'PostRequested') throw new Error('no post')
      streams.rooms[1] = { ...streams.rooms[1]!, fact: { ...fact, payload: Buffer.from('other') } }
      streams.posts = postsOf(streams.rooms)
    }],
    ['a post that was not published', ['post-missing'], streams => { streams.posts.splice(2, 1) }],
    ['a post that differs from what was numbered', ['post-differs'], streams => {
      streams.posts[2] = { ...streams.posts[2]!, payload: Buffer.from('other') }
    }],
    ['posts in another order', ['post-out-of-order'], streams => {
      streams.posts.splice(1, 2, streams.posts[2]!, streams.posts[1]!)
    }],
    ['a post that nobody numbered', ['post-unexplained'], streams => {
      streams.posts.push({ ...streams.posts[0]!, roomSeq: 99 })
    }],
    ['a node that gave more than there is', ['delivered-above-numbered'], streams => {
      streams.rooms.push({ roomId, atMs: 20_000, fact: delivered('n1', 99) })
    }],
    ['a node that is gone and was never put out', ['joined-on-dead-node'], streams => {
      streams.rooms.splice(3, Infinity, ...[joined('n9', 1), posted('m1')].map(fact => ({ roomId, atMs: 20_000, fact })))
      streams.posts = postsOf(streams.rooms)
      streams.nodes.push({ nodeId: 'n9', epoch: 1, atMs: 20_000 - 700_000, fact: { type: 'NodeLost' } })
      streams.nodes.push(...othersReports(700_000))
    }],
  ]
  for (const [what, codes, plant] of faults) {
    t.test(`finds ${what}`, async t => {
      const streams = given(lively)
      plant(streams)
      const found = await judge(streams)
      t.strictSame(found.codes, codes)
    })
  }

  t.test('judges what a living node has not told by its own clock, and not where that was behind', async t => {
    const codesOf = async (reportedAtMs: number, postedAtMs: number) => {
      const streams = given([])
      streams.rooms.push(...[joined('n1', 1), posted('m1')].map(fact => ({ roomId, atMs: postedAtMs, fact })))
      streams.posts = postsOf(streams.rooms)
      streams.nodes.push({ nodeId: 'n1', epoch: 1, atMs: reportedAtMs, fact: { type: 'NodeReported' } })
      return (await judge(streams, { nowMs: 1_000_000 })).codes
    }
    t.strictSame(await codesOf(400_000, 20_000), ['post-undelivered'])
    t.strictSame(await codesOf(200_000, 20_000), [], 'it was killed before it would have told')
    t.strictSame(await codesOf(200_000, -400_000), [], 'its clock was set back, and is right again')
  })

  t.test('names the place of one uplink that is missing', async t => {
    const streams = given(lively)
    streams.rooms.splice(1, 1)
    streams.posts = postsOf(streams.rooms)
    const { violations } = await judge(streams)
    t.match(violations.filter(({ code }) => code === 'uplink-unposted'), [{ text: /^1 accepted uplink is for room chat:7/, positions: ['ledger 0@2.0'] }])
  })

  t.test('finds any one post that is lost, whichever it is', async (t: Test) => {
    await fc.assert(fc.asyncProperty(fc.nat(), fc.constantFrom('rooms' as const, 'posts' as const), async (which, where) => {
      const streams = given([posted('m1'), posted('m2')], 6)
      const at = which % 5 // the last uplink may be on its way
      streams[where].splice(at, 1)
      if (where === 'rooms') streams.posts = postsOf(streams.rooms)
      t.same((await judge(streams)).codes, [where === 'rooms' ? 'uplink-unposted' : 'post-missing'])
    }), { numRuns: 30 })
  })
})
