import t, { type Test } from 'tap'
import { until } from '../node.js'
import { connect, givenConnection, openConnection, uplinks, verified } from './given-connection.js'

const uplinkWindow = 4

async function given (t: Test) { return await openConnection(t, { uplinkWindow }) }

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
    const client = givenConnection(t, { uplinkWindow })
    client.received(connect, ...uplinks(1, 2))
    await until('connect is taken', () => client.phase() === 'verifying')
    t.ok(client.isPaused())
    t.strictSame(client.uplinksAppended(), [])
    await verified(client)
    t.notOk(client.isPaused())
    t.strictSame(client.uplinksAppended(), [1, 2], 'they go to the ledger with the opening')
  })

  t.test('is not read while frames wait for connected', async t => {
    const client = givenConnection(t, { uplinkWindow })
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
    const client = givenConnection(t, { uplinkWindow, frameRate: 1 })
    client.received(connect, ...uplinks(1, 3))
    await verified(client)
    t.strictSame(client.uplinksAppended(), [1, 2], 'what its burst allows')
    client.welcome()
    await until('the third is refused', () => client.written.length === 2)
    t.match(client.written[1], { op: 'uplinkRefused', expectedSeq: 3, code: 'throttled' })
  })

  t.test('whose opening the ledger refused leaves no end in it', async t => {
    const client = givenConnection(t, { uplinkWindow })
    client.received(connect, ...uplinks(1, 1))
    await verified(client)
    client.refuseAll()
    await until('it closes', () => client.phase() === 'closing')
    t.match(client.written, [{ op: 'error', code: 'ledger-unavailable', retryAfterMs: Number }])
    t.strictSame(client.appended(), ['ConnectionOpened', 'UplinkReceived'], 'what was refused, and nothing after it')
  })

  t.test('whose opening and end the ledger refused together leaves no end in it either', async t => {
    const client = givenConnection(t, { uplinkWindow })
    client.received(connect, { op: 'disconnect', endSession: false })
    await until('connect is taken', () => client.phase() === 'verifying')
    client.letIn()
    await until('it closes', () => client.phase() === 'closing')
    client.refuseAll()
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(client.appended(), ['ConnectionOpened', 'ConnectionClosed'])
  })

  t.test('counts a goodbye that came right behind connect', async t => {
    const client = givenConnection(t, { uplinkWindow })
    client.received(connect, ...uplinks(1, 1), { op: 'disconnect', endSession: true })
    await until('connect is taken', () => client.phase() === 'verifying')
    client.letIn()
    await until('it closes', () => client.phase() === 'closing')
    t.strictSame(client.uplinksAppended(), [1])
    t.strictSame(client.written, [])
  })
})
