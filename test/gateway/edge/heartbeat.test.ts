import t from 'tap'
import { openConnection, ping, turn, uplinks } from './given-connection.js'

const minuteMs = 60_000

t.test('A silent client', async t => {
  t.test('is closed after 2.5 x heartbeatMs', async t => {
    const client = await openConnection(t)
    await client.pass(112_500)
    t.equal(client.phase(), 'open')
    await client.pass(100)
    t.match(client.written.at(-1), { op: 'error', code: 'heartbeat-timeout' })
  })

  t.test('that says how long it means to be silent is given 2.5 times that', async t => {
    const client = await openConnection(t)
    client.received(ping({ silentMs: 10 * minuteMs }))
    await turn()
    await client.pass(25 * minuteMs)
    t.equal(client.phase(), 'open')
    await client.pass(100)
    t.match(client.written.at(-1), { op: 'error', code: 'heartbeat-timeout' })
  })

  t.test('is given no more than 30 minutes, whatever it says', async t => {
    const client = await openConnection(t)
    client.received(ping({ silentMs: 2 ** 31 - 1 }))
    await turn()
    await client.pass(30 * minuteMs)
    t.equal(client.phase(), 'open')
    await client.pass(100)
    t.equal(client.phase(), 'closing')
  })

  t.test('is given no less than any other for saying less', async t => {
    for (const silentMs of [0, 1, 44_999]) {
      const client = await openConnection(t, { silenceMaxMs: 1_000 })
      client.received(ping({ silentMs }))
      await turn()
      await client.pass(112_500)
      t.equal(client.phase(), 'open', `${silentMs} ms`)
    }
  })

  t.test('goes back with its next ping, and not with other frames', async t => {
    const client = await openConnection(t)
    client.received(ping({ silentMs: 10 * minuteMs }))
    await turn()
    client.received(...uplinks(1, 1))
    await turn()
    await client.pass(20 * minuteMs)
    t.equal(client.phase(), 'open', 'an uplink changes nothing')
    client.received(ping())
    await turn()
    await client.pass(112_600)
    t.equal(client.phase(), 'closing')
  })

  t.test('can not mean to be silent for less than no time', async t => {
    const client = await openConnection(t)
    client.received(ping({ silentMs: -1 }))
    await turn()
    t.match(client.written.at(-1), { op: 'error', code: 'protocol' })
  })
})
