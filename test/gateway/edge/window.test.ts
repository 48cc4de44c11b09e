import t, { type Test } from 'tap'
import { startConnection } from '../../../actors/connection/actor.js'
import { type EdgeContext, type Identity, never } from '../../../actors/connection/connection.js'
import { Stopwatch } from '../../../actors/connection/stopwatch.js'
import type { Wire } from '../../../actors/connection/wire.js'
import { startActors } from '../../../actors/system.js'
import { GatewayError } from '../../../schemas/errors.js'
import type { Entry } from '../../../schemas/facts.js'
import type { Frame, ServerFrame } from '../../../schemas/frames.js'
import { until } from '../node.js'

const uplinkWindow = 4

/** A connection without a node: what it appends is stored when the test says so, and its user actor is the test. */
function givenConnection (t: Test, { frameRate = 0 } = {}) {
  const written: ServerFrame[] = []
  const appended: Entry[] = []
  let paused = false
  let letIn = (_identity: Identity) => {}
  let store: Array<() => void> = []
  let fail: Array<(error: Error) => void> = []
  const wire: Wire = {
    transport: 'tcp',
    address: '192.0.2.1:4000',
    queuedBytes: 0,
    bytesIn: 0,
    bytesOut: 0,
    write (frame) { written.push(frame) },
    writeSignal () {},
    flush () {},
    pause () { paused = true },
    resume () { paused = false },
    end () {},
    destroy () {},
  }
  const context: EdgeContext = {
    nodeId: 'n1',
    nodeEpoch: 1,
    limits: {
      heartbeatMs: 60_000,
      uplinkWindow,
      frameBytesMax: 65_536,
      frameRate,
      frameBurst: 2,
      loginPolicy: 'device',
      handshakeMs: 10_000,
      writeQueueBytesMax: 1 << 20,
      resumeBytesMax: 1 << 18,
      lingerMs: 2_000,
    },
    links: { toConnection () {}, toUser () {}, toAsker () {} },
    ticks: () => 0,
    verify: () => new Promise(resolve => { letIn = resolve }),
    partitionOf: () => 0,
    append (_partition, entries) {
      appended.push(...entries)
      return new Promise<void>((resolve, reject) => {
        store.push(resolve)
        fail.push(reject)
      })
    },
    appendLater (_partition, entry) { appended.push(entry) },
    admits: () => true,
    alternates: () => [],
    opened () {},
    stopwatch: new Stopwatch(() => {}),
    reportSoon () {},
    count: { uplinks: 0, uplinksRefused: 0, downlinks: 0, signals: 0, closed () {} },
    failed (what, error) { t.fail(`${what}: ${error}`) },
  }
  const system = startActors()
  t.teardown(() => { system.stop() })
  const connection = startConnection(wire, context, system)
  return {
    written,
    received (...frames: Frame[]) { connection.received(frames) },
    isPaused: () => paused,
    letIn () { letIn({ userId: 'ann', deviceId: undefined, expiresAtS: never }) },
    appended: () => appended.map(({ fact }) => fact.type),
    uplinksAppended: () => appended.flatMap(({ fact }) => fact.type === 'UplinkReceived' ? [fact.seq] : []),
    storeAll () {
      for (const resolve of store) resolve()
      store = []
      fail = []
    },
    refuseAll () {
      for (const reject of fail) reject(new GatewayError('ledger-unavailable', 'the disk is full'))
      store = []
      fail = []
    },
    welcome () {
      const { connectionId } = connection
      connection.tell({
        type: 'welcome', nodeId: 'n1', connectionId, resumed: false, uplinkSeq: 0, downlinkSeq: 0, lastSeq: 0, missed: 0,
      })
    },
    acked (seq: number) {
      const { connectionId } = connection
      connection.tell({ type: 'ackUplinks', nodeId: 'n1', connectionId, seq, userSeqs: [] })
    },
    phase: () => connection.phase,
  }
}

const connect: Frame = {
  op: 'connect', token: 't', deviceId: 'phone', platform: '', client: '', sessionId: 's1', downlinkSeq: 0,
}

function uplinks (from: number, to: number): Frame[] {
  return Array.from({ length: to - from + 1 }, (_, i): Frame =>
    ({ op: 'uplink', seq: from + i, service: '', payload: Buffer.of(), priority: 0 }))
}

async function verified (client: ReturnType<typeof givenConnection>): Promise<void> {
  await until('connect is taken', () => client.phase() === 'verifying')
  client.letIn()
  await until('the token is verified', () => client.phase() === 'opening')
}

async function given (t: Test) {
  const client = givenConnection(t)
  client.received(connect)
  await verified(client)
  client.storeAll()
  client.welcome()
  await until('it is open', () => client.phase() === 'open')
  return client
}

t.test('A connection', async t => {
  t.test('is not read while its window is full, and is again once acks come', async t => {
    const client = await given(t)
    t.notOk(client.isPaused())
    client.received(...uplinks(1, 3))
    await until('they are appended', () => client.uplinksAppended().length === 3)
    t.notOk(client.isPaused(), 'one more fits')
    client.received(...uplinks(4, 4))
    await until('it is not read', client.isPaused)
    client.storeAll()
    client.acked(1)
    await until('it is read again', () => !client.isPaused())
    client.received(...uplinks(5, 5))
    await until('it is not read', client.isPaused)
    client.acked(5)
    await until('it is stored too', () => { client.storeAll(); return !client.isPaused() })
    t.strictSame(client.uplinksAppended(), [1, 2, 3, 4, 5])
  })

  t.test('is not read either while as much is not stored, whatever is acked', async t => {
    const client = await given(t)
    client.received(...uplinks(1, 4))
    await until('it is not read', client.isPaused)
    client.acked(4)
    await until('the ack is written', () => client.written.some(({ op }) => op === 'uplinkAck'))
    t.ok(client.isPaused())
    client.storeAll()
    await until('it is read again', () => !client.isPaused())
  })

  t.test('is not read while its token is verified', async t => {
    const client = givenConnection(t)
    client.received(connect, ...uplinks(1, 2))
    await until('connect is taken', () => client.phase() === 'verifying')
    t.ok(client.isPaused())
    t.strictSame(client.uplinksAppended(), [])
    await verified(client)
    t.notOk(client.isPaused())
    t.strictSame(client.uplinksAppended(), [1, 2], 'they go to the ledger with the opening')
  })

  t.test('is not read while frames wait for connected', async t => {
    const client = givenConnection(t)
    client.received(connect, ...uplinks(1, 1), { op: 'ping', downlinkSeq: 0, silentMs: 0 }, ...uplinks(2, 2))
    await verified(client)
    t.ok(client.isPaused())
    t.strictSame(client.uplinksAppended(), [1])
    t.strictSame(client.written, [])
    client.welcome()
    await until('the rest is handled', () => client.uplinksAppended().length === 2)
    t.strictSame(client.written.map(({ op }) => op), ['connected', 'pong'])
    t.notOk(client.isPaused())
  })

  t.test('refuses nothing before connected, however fast the client is', async t => {
    const client = givenConnection(t, { frameRate: 1 })
    client.received(connect, ...uplinks(1, 3))
    await verified(client)
    t.strictSame(client.uplinksAppended(), [1, 2], 'what its burst allows')
    client.welcome()
    await until('the third is refused', () => client.written.length === 2)
    t.match(client.written[1], { op: 'uplinkRefused', expectedSeq: 3, code: 'throttled' })
  })

  t.test('whose opening the ledger refused leaves no end in it', async t => {
    const client = givenConnection(t)
    client.received(connect, ...uplinks(1, 1))
    await verified(client)
    client.refuseAll()
    await until('it closes', () => client.phase() === 'closing')
    t.match(client.written, [{ op: 'error', code: 'ledger-unavailable', retryAfterMs: 1_000 }])
    t.strictSame(client.appended(), ['ConnectionOpened', 'UplinkReceived'], 'what was refused, and nothing after it')
  })

  t.test('whose opening and end the ledger refused together leaves no end in it either', async t => {
    const client = givenConnection(t)
    client.received(connect, { op: 'disconnect', endSession: false })
    await until('connect is taken', () => client.phase() === 'verifying')
    client.letIn()
    await until('it closes', () => client.phase() === 'closing')
    client.refuseAll()
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(client.appended(), ['ConnectionOpened', 'ConnectionClosed'])
  })

  t.test('counts a goodbye that came right behind connect', async t => {
    const client = givenConnection(t)
    client.received(connect, ...uplinks(1, 1), { op: 'disconnect', endSession: true })
    await until('connect is taken', () => client.phase() === 'verifying')
    client.letIn()
    await until('it closes', () => client.phase() === 'closing')
    t.strictSame(client.uplinksAppended(), [1])
    t.strictSame(client.written, [])
  })
})
