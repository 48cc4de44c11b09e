import t, { type Test } from 'tap'
import { inquire } from '../../evidence/inquiry.js'
import { parseMoment } from '../../evidence/moment.js'
import { recentPostsOf } from '../../evidence/rooms/recent.js'
import { roomStateAt } from '../../evidence/rooms/state.js'
import { type RoomTrace, tracePost } from '../../evidence/rooms/trace.js'
import { roomChangesBetween } from '../../evidence/state-changes.js'
import { stateAt } from '../../evidence/state.js'
import { commandBytes } from '../../ledger/rejected.js'
import type { Posted } from '../../schemas/records.js'
import type { RoomFact } from '../../schemas/room-facts.js'
import { downlinksRejected } from '../../schemas/streams.js'
import { joined, left, posted, roomClosed, said } from '../actors/rooms/given-room.js'
import { granted as grant, opened, uplink } from '../actors/user/history.js'
import { reported, started } from '../projections/given.js'
import { StoredLog } from './stored-log.js'

const room = 'chat:7'

function given (nodeId: string, roomSeq: number, members = 2, behind = 0, nodeEpoch = 1): RoomFact {
  return { type: 'PostsDelivered', nodeId, nodeEpoch, interest: 1, roomSeq, members, behind }
}

function published (roomSeq: number, messageId: string): Posted {
  return { roomId: room, roomSeq, messageId, from: '', service: '', payload: Buffer.from(messageId), postedAtMs: 1 }
}

/** Events with nodes, and the verdict's codes. */
function shortly ({ steps, verdict: { code, cause } }: RoomTrace): string[] {
  return [...steps.map(({ event, nodeId }) => nodeId === '' ? event : `${event} ${nodeId}`), cause === '' ? code : `${code}, ${cause}`]
}

async function alive (stored: StoredLog, ...nodeIds: string[]): Promise<void> {
  for (const nodeId of nodeIds) await stored.node({ nodeId, epoch: 1, atMs: 500, fact: started })
}

t.test('The state of a room', async t => {
  const stored = await StoredLog.open(t)
  const { log } = stored
  await alive(stored, 'n1', 'n2')
  await stored.room(1_000, room, joined('n1', 1), posted('m1'))
  const second = await stored.room(2_000, room, posted('m2', 'twelve bytes'))
  await stored.room(2_500, 'chat:8', posted('x'))
  await stored.room(3_000, room, joined('n2', 1), given('n1', 2, 20, 3), left('n2', 1), roomClosed('over'))

  await t.test('is what all entries make of it', async t => {
    const view = await roomStateAt(log, room)
    t.match(view, { roomId: room, asOf: { atMs: 3_000 }, roomSeq: 2, keptAfter: 0, closed: true, closeReason: 'over', nodes: [] })
    t.match(view.posts, [{ roomSeq: 1, messageId: 'm1' }, { roomSeq: 2, messageId: 'm2', payloadBytes: 12 }])
  })
  await t.test('at a position or a time has no later entry', async t => {
    t.match(await roomStateAt(log, room, parseMoment(second, 10_000)), {
      asOf: { position: second },
      roomSeq: 2,
      closed: false,
      nodes: [{ nodeId: 'n1', nodeEpoch: 1, interest: 1, joinedAtMs: 1_000, deliveredSeq: 0, members: 0, gone: '' }],
    })
    t.match(await roomStateAt(log, room, parseMoment('8500ms', 10_000)), { roomSeq: 1 })
    t.match(await roomStateAt(log, room, parseMoment('1969-01-01', 10_000)), { asOf: null, roomSeq: 0, nodes: [] })
  })
  await t.test('names what nodes say that they gave, and those that are gone', async t => {
    const before = (await stored.room(4_000, 'lost', joined('n1', 1), joined('n9', 1), given('n1', 7, 20, 3)))
    await stored.node({ nodeId: 'n9', epoch: 1, atMs: 4_000, fact: { type: 'NodeLost' } })
    t.match(await roomStateAt(log, 'lost', parseMoment(before, 10_000)), {
      nodes: [{ nodeId: 'n1', deliveredSeq: 7, members: 20, behind: 3, gone: '' }, { nodeId: 'n9', gone: 'node-lost' }],
    })
  })
  await t.test('is refused at positions that are not its own', async t => {
    const own = Number(second.split('@')[0])
    await t.rejects(roomStateAt(log, room, parseMoment(`${1 - own}@0`, 1)), { code: 'bad-request', message: /want one of/ })
    await t.rejects(roomStateAt(log, room, parseMoment(`${own}@99`, 1)), { message: /the stream rooms ends before/ })
  })
  await t.test('differs from another one by nodes and posts', async t => {
    const [from, to] = [await roomStateAt(log, room, parseMoment('8500ms', 10_000)), await roomStateAt(log, room)]
    t.strictSame(roomChangesBetween(from, to).map(({ type, path }) => `${type} ${path.join('/')}`),
      ['changed roomSeq', 'changed closed', 'changed closeReason', 'removed nodes/n1', 'added posts/2'])
  })
})

t.test('A post', async t => {
  const fresh = async (t: Test) => {
    const stored = await StoredLog.open(t)
    await alive(stored, 'n1', 'n2')
    await stored.room(1_000, room, joined('n1', 1), joined('n2', 1))
    const trace = async (messageId: string, nowMs = 20_000) => await tracePost(stored.log, room, messageId, {}, nowMs)
    return { stored, trace }
  }

  await t.test('that all nodes gave to their members is told step by step', async t => {
    const { stored, trace } = await fresh(t)
    await stored.room(2_000, room, posted('m1'))
    await stored.publishPosts(published(1, 'm1'))
    await stored.room(3_000, room, given('n1', 1, 20), given('n2', 1, 3, 1), given('n1', 1))
    const found = await trace('m1')
    t.strictSame(shortly(found), ['requested', 'numbered', 'published', 'delivered n1', 'delivered n2', 'delivered'])
    t.match(found.steps[2], { position: /^posts \d@/ })
    t.match(found.steps[3], { position: /^rooms \d@/, stage: 'numbered-delivered', stageMs: 1_000 })
    t.match(found.verdict.text, /^Numbered as 1 of the room .*n1 had given it to its 20 members .*but 1 that read slowly/)
  })
  await t.test('of an uplink names its entry in the ledger, and who sent it', async t => {
    const { stored, trace } = await fresh(t)
    await stored.at(1_500, 'ann', opened('c1'))
    const where = await stored.at(2_000, 'ann', { ...uplink('c1', 1), roomId: room } as never)
    const [, partition, offset, index] = /^(\d+)@(\d+)\.(\d+)$/.exec(where)!.map(Number)
    await stored.room(2_000, room, said('ann', 1, [partition!, offset!, index!]))
    const found = await trace('ann/1')
    t.match(found.steps[0], { position: `ledger ${where}`, event: 'received', connectionId: 'c1', nodeId: 'n1', text: /phone of ann, uplink 1 of session s1/ })
    t.match(found.verdict, { code: 'unpublished' })
  })
  await t.test('is unreported where a node was lost, or silent, before it told', async t => {
    const { stored, trace } = await fresh(t)
    await stored.room(2_000, room, posted('m1'))
    await stored.publishPosts(published(1, 'm1'))
    await stored.room(3_000, room, given('n1', 1), { ...left('n2', 1), code: 'node-lost' } as RoomFact)
    t.match(await trace('m1'), { verdict: { code: 'unreported', cause: 'node-lost', text: /n2 was lost .*joins again/ } })
    await stored.room(4_000, room, joined('n2', 2), posted('m2'), given('n1', 2))
    await stored.publishPosts(published(2, 'm2'))
    t.match(await trace('m2', 600_000), { verdict: { code: 'unreported', cause: 'node-silent' } })
  })
  await t.test('is not reported yet, or late, by a node that lives', async t => {
    const { stored, trace } = await fresh(t)
    await stored.room(2_000, room, posted('m1'), given('n1', 1), given('n2', 0))
    await stored.publishPosts(published(1, 'm1'))
    t.match(await trace('m1', 5_000), { verdict: { code: 'not-reported', cause: '', text: /n2 has told up to 0/ } })
    await stored.node({ nodeId: 'n2', epoch: 1, atMs: 100_000, fact: reported() })
    t.match(await trace('m1', 105_000), { verdict: { code: 'not-reported', cause: 'late', text: /n2 lives .*doctor/ } })
  })
  await t.test('went to nobody where no node had members, or the last one had left', async t => {
    const { stored, trace } = await fresh(t)
    await stored.room(2_000, room, posted('m1'), left('n1', 1), left('n2', 1), posted('m2'))
    await stored.publishPosts(published(1, 'm1'), published(2, 'm2'))
    t.match(await trace('m1'), { verdict: { code: 'left-before', text: /n1: its last member had left/ } })
    t.match(await trace('m2'), { verdict: { code: 'no-members', text: /Who joins is given it/ } })
  })
  await t.test('is refused by a room that is closed', async t => {
    const { stored, trace } = await fresh(t)
    await stored.room(2_000, room, roomClosed('over'), posted('m1'))
    const found = await trace('m1')
    t.strictSame(shortly(found), ['closed', 'requested', 'refused', 'room-closed'])
    t.match(found.verdict.text, /closed before, at .*: over\. .*post in another one/)
  })
  await t.test('that was asked for again is there once', async t => {
    const { stored, trace } = await fresh(t)
    await stored.room(2_000, room, posted('m1'), posted('m1'), posted('m1', 'other'), given('n1', 1), given('n2', 1))
    await stored.publishPosts(published(1, 'm1'))
    const found = await trace('m1')
    t.match(found.steps.filter(({ event }) => event === 'duplicate').map(({ text }) => text), [/the first one stands/, /another payload/])
    t.match(found.verdict, { code: 'delivered', cause: 'duplicate' })
  })
  await t.test('that is not in the room is looked for where it may have stopped', async t => {
    const { stored, trace } = await fresh(t)
    t.match(await trace('m9'), { verdict: { code: 'never-posted', text: /nobody asked for it/ } })
    t.match(await tracePost(stored.log, 'other', 'm1'), { verdict: { code: 'unknown-room' } })
    await stored.at(1_500, 'ann', opened('c1'), { ...uplink('c1', 1), roomId: room } as never, uplink('c1', 2))
    t.match(await trace('ann/1'), { verdict: { code: 'unposted', text: /ledger \d@\d+\.0\), and not in the stream rooms yet/ } })
    t.match(await trace('ann/2'), { verdict: { code: 'never-posted', text: /names no room/ } })
    const command = commandBytes({
      messageId: 'm7',
      userIds: [],
      service: '',
      payload: Buffer.of(),
      ttlMs: 1,
      delivery: 'durable',
      platforms: [],
      exceptDevices: [],
      devices: [],
      app: '',
      roomId: room,
      receipts: true,
      offlineAfterMs: 0,
      replaces: '',
    })
    await stored.log.append(downlinksRejected, 0, [{
      userId: '', command, code: 'payload-too-large', reason: 'too large', rejectedAtMs: 2_000,
    }])
    t.match(await trace('m7'), { verdict: { code: 'rejected', cause: 'payload-too-large' } })
  })
  await t.test('shows nothing before or behind a range', async t => {
    const { stored, trace } = await fresh(t)
    await stored.room(2_000, room, posted('m1'))
    await stored.publishPosts(published(1, 'm1'))
    await stored.room(3_000, room, given('n1', 1))
    const since = parseMoment('1970-01-01T00:00:02.500Z', 20_000)
    t.strictSame(shortly(await tracePost(stored.log, room, 'm1', { since }, 4_000)), ['delivered n1', 'not-reported'])
    t.strictSame(shortly(await tracePost(stored.log, room, 'm1', { until: since }, 4_000)),
      ['requested', 'numbered', 'published', 'not-reported'])
    t.match(await trace('m1', 4_000), { verdict: { code: 'not-reported' } })
  })
})

t.test('A room whose first posts are deleted', async t => {
  const stored = await StoredLog.open(t, 1_000)
  await stored.room(1_000, room, joined('n1', 1), posted('m1'))
  await stored.room(5_000, room, posted('m2'))
  await stored.publishPosts(published(1, 'm1'), published(2, 'm2'))
  await stored.room(5_000, room, given('n1', 2), joined('n2', 1), posted('m3'), given('n2', 3))
  await stored.publishPosts(published(3, 'm3'))
  await stored.log.sweep()
  await t.test('gives each post the number that it has in the stream posts', async t => {
    const found = await tracePost(stored.log, room, 'm2', {}, 6_000)
    t.match(found.steps.map(({ text }) => text), [/business/, /^is post 2 of the room; which nodes had members is not known$/, /posts/])
    t.match(found.verdict, { code: 'not-kept', text: /^Numbered as 2 of the room/ })
    t.match(await tracePost(stored.log, room, 'm3', {}, 6_000), { verdict: { code: 'delivered', text: /Numbered as 3/ } })
  })
  await t.test('lists those that are kept, without numbers', async t => {
    const { items, more, knownSince } = await recentPostsOf(stored.log, room, 9)
    t.match(items, [{ messageId: 'm3', roomSeq: null }, { messageId: 'm2', roomSeq: null }])
    t.match({ more, knownSince }, { more: 0, knownSince: { atMs: 5_000 } })
  })
})

t.test('The last posts of a room', async t => {
  const stored = await StoredLog.open(t)
  await stored.room(1_000, room, joined('n1', 1), ...[1, 2, 3, 4, 5].map(n => posted(`m${n}`)), posted('m5'))
  await stored.room(2_000, room, said('ann', 1, [0, 0, 0]), roomClosed('over'), posted('m6'))
  await t.test('are listed newest first, each once, and none that was refused', async t => {
    const { items, more, isUnknown } = await recentPostsOf(stored.log, room, 2)
    t.match(items, [{ messageId: 'ann/1', from: 'ann', roomSeq: 6, atMs: 2_000 }, { messageId: 'm5', from: '', roomSeq: 5 }])
    t.strictSame({ more, isUnknown }, { more: 4, isUnknown: false })
  })
  await t.test('are none where nobody has named it', async t => {
    t.match(await recentPostsOf(stored.log, 'nowhere', 2), { items: [], isUnknown: true, knownSince: null })
  })
})

t.test('The trace of an uplink that names a room goes on to the post', async t => {
  const stored = await StoredLog.open(t)
  await stored.at(1_000, 'ann', opened('c1'))
  const where = await stored.at(2_000, 'ann', { ...uplink('c1', 1), roomId: room } as never)
  const [, partition, offset, index] = /^(\d+)@(\d+)\.(\d+)$/.exec(where)!.map(Number)
  await stored.room(2_000, room, said('ann', 1, [partition!, offset!, index!]))
  await stored.publishPosts(published(1, 'ann/1'))
  const found = await inquire(stored.log, 'ann', { sessionId: 's1', seq: 1 })
  t.match(found.post, { roomId: room, verdict: { code: 'no-members' } })
  const until = parseMoment(where, 10_000)
  t.equal((await inquire(stored.log, 'ann', { sessionId: 's1', seq: 1 }, { until })).post, undefined)
})

t.test('A membership', async t => {
  const stored = await StoredLog.open(t)
  const granted = (requestId: string, rights: 'rw' | 'w', roomId = room) => ({ ...grant(requestId, roomId, rights), by: 'k1' })
  await stored.at(1_000, 'ann', opened('c1'), granted('r1', 'rw'), granted('r1', 'rw'), granted('r2', 'w', 'other'))
  const ask = async (roomId = room) => await inquire(stored.log, 'ann', { roomId })

  await t.test('is in the state of its user', async t => {
    t.match(await stateAt(stored.log, 'ann'), {
      memberships: [{ roomId: room, rights: 'rw', grantedAtMs: 1_000 }, { roomId: 'other', rights: 'w' }],
    })
  })
  await t.test('is told with who wanted it, and the connections that heard of it', async t => {
    const found = await ask()
    t.match(found.verdict, { code: 'member', text: /with rw since/ })
    t.match(found.steps.map(({ text }) => text), [/with the key k1 wanted by request r1; 1 open connection is told/, /nothing changes/])
    const { steps } = await inquire(stored.log, 'ann', { connectionId: 'c1' })
    t.match(steps.filter(({ event }) => event === 'room-granted').map(({ text }) => text),
      ['business gives the user rw in chat:7', 'business gives the user w in other'])
  })
  await t.test('that ended, or never was, is told so', async t => {
    await stored.at(2_000, 'ann', { type: 'RoomRevoked', roomId: room, requestId: 'r3', by: '', reason: 'rude' })
    t.match((await ask()).verdict, { code: 'put-out', text: /: rude/ })
    t.match((await ask('never')).verdict, { code: 'never-granted' })
  })
})
