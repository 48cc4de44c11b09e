import t from 'tap'
import { until } from '../node.js'
import { connect, givenConnection, openConnection, ping, turn, uplinks, verified } from './given-connection.js'

t.test('A connection whose welcome is lost', async t => {
  t.test('hears nothing before connected, and all of it then', async t => {
    const client = givenConnection(t)
    client.received(connect, ...uplinks(1, 2))
    await verified(client)
    client.storeAll()
    client.acked(2)
    client.downlink(1)
    await turn()
    t.strictSame(client.written, [])
    await client.pass(2_000)
    await client.pass(2_000)
    t.match(client.asked, [{ type: 'resync', welcomed: false }])
    client.welcome({ uplinkSeq: 2, lastSeq: 1 })
    client.downlink(1)
    await turn()
    t.match(client.written, [{ op: 'connected', uplinkSeq: 2 }, { op: 'downlink', seq: 1 }])
    client.received(...uplinks(3, 3))
    client.acked(3)
    await turn()
    t.match(client.written.slice(2), [{ op: 'uplinkAck', seq: 3 }])
  })

  t.test('is told of a hole behind connected', async t => {
    const client = givenConnection(t)
    client.received(connect, ...uplinks(5, 8))
    await verified(client)
    client.storeAll()
    for (let i = 5; i <= 8; i++) client.refused(1)
    await turn()
    t.strictSame(client.written, [])
    client.welcome()
    await turn()
    t.match(client.written, [{ op: 'connected' }, { op: 'uplinkRefused', expectedSeq: 1, code: 'gap' }])
    t.equal(client.written.length, 2)
  })
})

t.test('An opening', async t => {
  t.test('that is not stored within 4 s is closed with a wait', async t => {
    const client = givenConnection(t)
    client.received(connect)
    await verified(client)
    await client.pass(4_000)
    t.equal(client.phase(), 'opening', 'not sooner')
    await client.pass(200)
    t.equal(client.phase(), 'closing')
    t.match(client.written, [{ op: 'error', code: 'ledger-unavailable', retryAfterMs: Number }])
    t.strictSame(client.appended(), ['ConnectionOpened', 'ConnectionClosed'], 'it may be stored yet: so is its end')
  })

  t.test('that nobody answers for is closed with a wait, within 10 s', async t => {
    const client = givenConnection(t)
    client.received(connect)
    await verified(client)
    client.storeAll()
    await client.pass(8_000)
    t.equal(client.phase(), 'opening', 'not sooner')
    await client.pass(200)
    t.equal(client.phase(), 'closing')
    t.match(client.written, [{ op: 'error', code: 'ledger-unavailable', retryAfterMs: Number }])
  })

  t.test('is not even tried while nobody can answer for users', async t => {
    const client = givenConnection(t)
    client.usersGo('Redis does not answer')
    client.received(connect, ...uplinks(1, 2))
    await until('connect is taken', () => client.phase() === 'verifying')
    client.letIn()
    await until('it is refused', () => client.phase() === 'closing')
    t.match(client.written, [{ op: 'error', code: 'ledger-unavailable', message: 'Redis does not answer', retryAfterMs: Number }])
    t.strictSame(client.appended(), [], 'the ledger hears nothing of it')

    const next = givenConnection(t)
    next.received(connect)
    await verified(next)
    t.equal(next.phase(), 'opening')
  })

  t.test('has its own time, however late the client said connect', async t => {
    const client = givenConnection(t)
    await client.pass(100)
    client.received(connect)
    await verified(client)
    client.storeAll()
    await client.pass(7_900)
    t.equal(client.phase(), 'opening')
    client.welcome()
    await until('it is open', () => client.phase() === 'open')
  })
})

t.test('What was missed', async t => {
  const missing = { welcome: { downlinkSeq: 3, missed: 1 } }

  t.test('is not told by a connected that nobody waited for', async t => {
    for (const clean of [true, false]) {
      const client = await openConnection(t, {}, missing)
      client.leaves(clean)
      await turn()
      t.match(client.end(), { told: false, ackedSeq: 0, code: clean ? 'disconnected' : 'connection-lost' })
    }
  })

  t.test('is not told to a client that spoke before connected was written', async t => {
    const client = givenConnection(t)
    client.received(connect, ping(), { op: 'disconnect', endSession: false })
    await verified(client)
    client.storeAll()
    client.welcome({ downlinkSeq: 3, missed: 1 })
    await turn()
    t.match(client.end(), { told: false, code: 'disconnected' })
  })

  t.test('is told once the client pings, acks or says goodbye', async t => {
    for (const frame of [ping(), { op: 'downlinkAck', seq: 4 } as const, { op: 'disconnect', endSession: false } as const]) {
      const client = await openConnection(t, {}, missing)
      client.downlink(4)
      await turn()
      client.received(frame)
      await turn()
      client.leaves(true)
      await turn()
      t.match(client.end(), { told: true }, frame.op)
    }
  })
})

t.test('An ack that was lost and came when it was asked for is not asked for again', async t => {
  const client = await openConnection(t)
  client.received(...uplinks(1, 1))
  await turn()
  client.storeAll()
  await client.pass(2_000)
  await client.pass(2_000)
  t.match(client.asked, [{ type: 'resync', welcomed: true, uplinkSeq: 0 }])
  client.acked(1)
  await turn()
  for (let i = 0; i < 3; i++) await client.pass(2_000)
  t.equal(client.asked.length, 1)
})
