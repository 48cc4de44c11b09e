import t, { type Test } from 'tap'
import type { ConnectionEvent } from '../../../actors/connection/events.js'
import { eventRules, frameRules, type Phase, phases } from '../../../actors/connection/phases.js'
import { GatewayError } from '../../../schemas/errors.js'
import type { Entry } from '../../../schemas/facts.js'
import type { Frame } from '../../../schemas/frames.js'
import { until } from '../node.js'
import {
  connect, type GivenConnection, givenConnection, identity, openConnection, ping, turn, uplinks, verified,
} from './given-connection.js'

/** A connection in a phase. One that is leaving waits for the outcome of an uplink. */
async function given (t: Test, phase: Phase): Promise<GivenConnection> {
  if (phase === 'new' || phase === 'verifying' || phase === 'opening') {
    const client = givenConnection(t)
    if (phase !== 'new') client.received(connect)
    if (phase === 'verifying') await until('connect is taken', () => client.phase() === 'verifying')
    if (phase === 'opening') await verified(client)
    return client
  }
  const client = await openConnection(t)
  await turn()
  if (phase === 'leaving') {
    client.received(...uplinks(1, 1))
    client.tell({ type: 'leave' })
  }
  const kick = { type: 'closeConnection', nodeId: 'n1', connectionId: '', code: 'kicked', reason: '', by: '' } as const
  if (phase === 'closing') client.tell(kick)
  if (phase === 'closed') client.leaves(true)
  await turn()
  return client
}

/** Does something to a connection. @returns its phase then, and what came of it */
async function outcome (t: Test, phase: Phase, act: (client: GivenConnection) => void): Promise<string> {
  const client = await given(t, phase)
  t.equal(client.phase(), phase)
  const { connection, written, verifying } = client
  const look = () => ({
    written: written.length,
    appended: client.appended().length,
    verifying: verifying.length,
    signals: connection.edge.count.signals,
    isStored: connection.window.isStored,
    refused: connection.tally?.run,
  })
  const before = look()
  act(client)
  await turn()
  const after = look()
  const ops = written.slice(before.written).map(({ op }) => op)
  return [
    client.phase(),
    ...ops,
    ...client.appended().slice(before.appended),
    ...after.verifying > before.verifying ? ['verifies'] : [],
    ...after.signals > before.signals ? ['signal'] : [],
    ...after.isStored !== before.isStored && after.appended === before.appended ? ['settles'] : [],
    ...after.refused !== before.refused && !ops.includes('uplinkRefused') ? ['owes'] : [],
    ...connection.hasFrames && !connection.life.isOver ? ['waits'] : [],
  ].join(' ')
}

async function goesThrough (t: Test, act: (client: GivenConnection) => void, outcomes: string): Promise<void> {
  const expected = outcomes.split(',').map(text => text.trim())
  const found = []
  for (const phase of phases) found.push(await outcome(t, phase, act))
  t.strictSame(found, expected)
}

const told = { nodeId: 'n1', connectionId: '' }
const refusal = { code: 'bad-token', reason: '', retryAfterMs: 0 } as const
const lost: Entry = {
  userId: 'ann',
  atMs: 0,
  fact: { type: 'UplinkReceived', connectionId: '', seq: 1, service: '', payload: Buffer.of(), priority: 0, roomId: '' },
}
const downlink = {
  messageId: 'm', service: '', payload: Buffer.of(), requestedAtMs: 0, expiresAtMs: 0, platforms: [], exceptDevices: [],
}

const notFirst = 'closing error'
const ends = 'closing error ConnectionClosed'
const left = 'closing ConnectionClosed'
const kicked = 'closing kick ConnectionClosed'
const waiting = `${notFirst}, verifying waits, opening waits`
const over = 'closing, closed'

t.test('A frame', async t => {
  const frames: Record<string, [frame: object | 'unreadable', outcomes: string]> = {
    connect: [connect, `verifying verifies, verifying waits, opening waits, ${ends}, ${ends}, ${over}`],
    downlinkAck: [{ seq: 9 }, `${waiting}, ${ends}, ${ends}, ${over}`],
    downlinkSkipped: [{ seq: 9, reason: '' }, `${waiting}, ${ends}, ${ends}, ${over}`],
    ping: [ping(), `${waiting}, open pong, leaving pong, ${over}`],
    join: [{ roomId: 'r', roomSeq: -1 }, `${waiting}, open left, leaving left, ${over}`],
    leave: [{ roomId: 'r' }, `${waiting}, open left, leaving left, ${over}`],
    token: [{ token: 't' }, `${notFirst}, verifying waits, ${ends}, open verifies, leaving verifies, ${over}`],
    disconnect: [
      { endSession: false },
      `${notFirst}, verifying waits, ${left}, ${left}, ${left}, ${over}`,
    ],
    unreadable: ['unreadable', `${notFirst}, verifying waits, ${ends}, ${ends}, ${ends}, ${over}`],
    connected: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    uplinkAck: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    uplinkRefused: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    downlink: [{ payload: Buffer.of() }, `${waiting}, ${ends}, ${ends}, ${over}`],
    pong: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    signal: [{ payload: Buffer.of() }, `${waiting}, ${ends}, ${ends}, ${over}`],
    migrate: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    redirect: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    kick: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    error: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    joined: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    left: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
    post: [{ payload: Buffer.of() }, `${waiting}, ${ends}, ${ends}, ${over}`],
    tokenAccepted: [{}, `${waiting}, ${ends}, ${ends}, ${over}`],
  }
  t.strictSame(new Set([...Object.keys(frames), 'uplink']), new Set(Object.keys(frameRules)), 'all of them')
  for (const [op, [frame, outcomes]] of Object.entries(frames)) {
    t.test(op, t => goesThrough(t, client => {
      if (frame === 'unreadable') client.connection.receivedBadFrame(new GatewayError('bad-frame', 'planted'))
      else client.received({ op, ...frame as object } as Frame)
    }, outcomes))
  }
  t.test('uplink', async t => {
    await goesThrough(t, client => { client.received(...uplinks(1, 2).slice(client.phase() === 'leaving' ? 1 : 0)) },
      `${notFirst}, verifying waits, opening UplinkReceived UplinkReceived, open UplinkReceived UplinkReceived, ` +
      `leaving UplinkReceived, ${over}`)
    t.equal(await outcome(t, 'opening', client => { client.received(...uplinks(1, 1), ...uplinks(5, 5)) }),
      'opening UplinkReceived waits', 'one that is not the next')
  })
})

t.test('An event', async t => {
  const same = 'new, verifying, opening'
  const events: Record<ConnectionEvent['type'], [event: object, outcomes: string]> = {
    socketClosed: [
      { clean: true },
      'closed, closed, closed ConnectionClosed, closed ConnectionClosed, closed ConnectionClosed, closed, closed',
    ],
    closeConnection: [
      { ...told, code: 'kicked', reason: '' },
      `closing kick, closing kick, ${kicked}, ${kicked}, ${kicked}, ${over}`,
    ],
    fail: [{ code: 'token-expired', reason: '' }, `${notFirst}, ${notFirst}, ${ends}, ${ends}, ${ends}, ${over}`],
    verified: [{ connect, identity: identity() }, `new, opening ConnectionOpened, opening, open, leaving, ${over}`],
    sendAway: [{}, `new, closing redirect, opening, open, leaving, ${over}`],
    notOpened: [{}, `new, verifying, closing error, open, leaving, ${over}`],
    welcome: [
      { ...told, resumed: false, uplinkSeq: 0, downlinkSeq: 0, lastSeq: 0, missed: 0 },
      `new, verifying, open connected, open, leaving, ${over}`,
    ],
    refuseUplink: [
      { ...told, expectedSeq: 1, code: 'gap' },
      `new, verifying, opening owes, open uplinkRefused, leaving uplinkRefused, ${over}`,
    ],
    stored: [{ entries: 1 }, `new, verifying, opening settles, open settles, leaving settles, ${over}`],
    notStored: [
      { entries: [lost], error: new Error('planted') },
      `new, verifying, opening owes, open uplinkRefused, leaving uplinkRefused, ${over}`,
    ],
    ackUplinks: [{ ...told, seq: 1, userSeqs: [1] }, `${same}, open uplinkAck, leaving uplinkAck, ${over}`],
    deliver: [{ ...told, seq: 1, downlink }, `${same}, open downlink, leaving downlink, ${over}`],
    memberships: [{ ...told, version: 1, rooms: [] }, `${same}, open, leaving, ${over}`],
    signal: [{ ...told, signal: {} }, `${same}, open signal, leaving signal, ${over}`],
    gone: [told, `${same}, ${ends}, ${ends}, ${over}`],
    tokenVerified: [{ identity: identity() }, `${same}, open tokenAccepted, leaving tokenAccepted, ${over}`],
    tokenRefused: [{ token: 't', refusal }, `${same}, ${ends}, ${ends}, ${over}`],
    tokenDue: [{ token: 't' }, `${same}, open verifies, leaving verifies, ${over}`],
    migrate: [{ withinMs: 0, reason: '', leavesAt: 1 }, `${same}, open migrate, leaving, ${over}`],
    leave: [{}, `${same}, ${ends}, leaving, ${over}`],
    stay: [{}, `${same}, open, open, ${over}`],
    drained: [{}, `${same}, open, leaving, ${over}`],
  }
  t.strictSame(new Set(Object.keys(events)), new Set(Object.keys(eventRules)), 'all of them')
  for (const [type, [event, outcomes]] of Object.entries(events)) {
    t.test(type, t => goesThrough(t, client => { client.tell({ type, ...event } as ConnectionEvent) }, outcomes))
  }
})

t.test('What a client sent before its socket was gone counts', async t => {
  for (const phase of ['opening', 'open'] as const) {
    t.equal(await outcome(t, phase, client => {
      client.received(...uplinks(1, 1))
      client.leaves(true)
    }), 'closed UplinkReceived ConnectionClosed')
  }
})

t.test('A client whose window is full is read to its end once it has said goodbye', async t => {
  const client = await openConnection(t, { uplinkWindow: 2 })
  client.received(...uplinks(1, 2), { op: 'disconnect', endSession: false })
  await turn()
  t.equal(client.phase(), 'closing')
  t.notOk(client.isPaused())
})

t.test('A connection that was leaving and may stay is read again', async t => {
  const client = await given(t, 'leaving')
  t.ok(client.isPaused())
  client.tell({ type: 'stay' })
  await turn()
  t.notOk(client.isPaused())
  client.storeAll()
  client.acked(1)
  await turn()
  t.equal(client.phase(), 'open')
})
