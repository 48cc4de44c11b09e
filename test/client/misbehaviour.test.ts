import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { inMemory } from '../../client/node.js'
import type { ClientEvents, ClientOptions } from '../../client/node.js'
import { connected, givenClient, givenEdge } from './given.js'

/*
  What an application may do wrong in a function that it hands to a client. Whatever it is, nothing is thrown at the
  process (tap fails a test for an unhandled rejection and for an uncaught exception), and the client goes on.
*/

const never = new Promise<never>(() => {})

const ways: Record<string, () => any> = {
  'returns undefined': () => undefined,
  'returns a number': () => 42,
  'returns null': () => null,
  'returns an object': () => ({ token: 'a.b.c' }),
  'returns an object without a prototype': () => Object.create(null),
  'returns an array of nonsense': () => [undefined, 42, '', 'no address'],
  'returns a page of HTML': () => '<!doctype html><title>Log in</title>',
  'returns a thenable that throws': () => ({ then: () => { throw new Error('then') } }),
  throws: () => { throw new Error('broken') },
  'throws nothing': () => { throw undefined }, // eslint-disable-line no-throw-literal
  'throws an object without a prototype': () => { throw Object.create(null) },
  rejects: async () => { throw new Error('broken') },
  'rejects late': async () => {
    await sleep(20)
    throw new Error('late')
  },
  'never settles': async () => await never,
}

const goodStorage = inMemory()

/** By name, the options with it. Each misbehaves at its first call, or always where a connection does not need it. */
const callbacks: Record<string, (misbehave: () => any) => Partial<ClientOptions>> = {
  getToken: misbehave => ({ getToken: atFirst(misbehave, () => 'a.b.c') }),
  resolve: misbehave => ({ resolve: atFirst(misbehave, () => []) }),
  network: misbehave => ({ network: misbehave }),
  random: misbehave => ({ random: atFirst(misbehave, () => 0) }),
  'storage.close': misbehave => ({ storage: { ...goodStorage, open: async () => new Map(), close: misbehave } }),
}

/** What can't be waited for in a test that is short; below it is tried with a clock of its own. */
const slow = new Set(['getToken never settles', 'resolve never settles'])

function atFirst<T> (misbehave: () => any, then: () => T): () => T {
  let calls = 0
  return () => calls++ === 0 ? misbehave() : then()
}

t.test('A client connects and delivers', async t => {
  t.before(() => { console.error = () => {} })
  for (const [callback, optionsWith] of Object.entries(callbacks)) {
    for (const [way, misbehave] of Object.entries(ways)) {
      if (slow.has(`${callback} ${way}`)) continue
      t.test(`where ${callback} ${way}`, async t => {
        const edge = await givenEdge(t)
        const client = givenClient(t, [edge.url], optionsWith(misbehave))
        const disconnected: Array<ClientEvents['disconnected']> = []
        client.on('disconnected', event => disconnected.push(event))
        const sent = client.connect().send('hi')
        const peer = await edge.peer()
        await peer.accept()
        await peer.next('uplink')
        peer.send({ op: 'uplinkAck', seq: 1, userSeqs: [1] })
        t.match(await sent, { seq: 1 })
        if (callback === 'getToken') {
          t.match(disconnected, [{ code: 'no-token', reason: /./, willReconnect: true }])
        }
        peer.end()
        if (!(callback === 'storage.close' && way === 'never settles')) await client.close()
        await sleep(25)
      })
    }
  }

  const events = ['connecting', 'connected', 'signal', 'downlink', 'failed', 'missed', 'refused', 'disconnected',
    'kicked', 'callbackFailed'] as const
  for (const [way, misbehave] of Object.entries(ways)) {
    t.test(`where a listener of each event ${way}`, async t => {
      const edge = await givenEdge(t)
      const client = givenClient(t, [edge.url], { handlerAttemptsMax: 2 })
      const told: string[] = []
      const failures: string[] = []
      for (const name of events) {
        client.on(name, name === 'downlink' ? atFirst(way === 'never settles' ? ways['throws']! : misbehave, () => {}) : misbehave)
        client.on(name, () => { told.push(name) })
      }
      client.on('callbackFailed', ({ callback }) => { failures.push(callback) })
      client.connect().send('hi')
      const peer = await edge.peer()
      await peer.accept({ missed: 1, downlinkSeq: 1 })
      await peer.next('uplink')
      peer.send({ op: 'signal', service: '', payload: Buffer.from('s'), roomId: '' },
        { op: 'downlink', seq: 2, messageId: 'm', service: '', payload: Buffer.from('d'), requestedAtMs: 0 },
        { op: 'uplinkRefused', expectedSeq: 1, code: 'throttled', retryAfterMs: 1 })
      t.match(await peer.next('downlinkAck'), { seq: 2 })
      const ended = client.once('disconnected')
      peer.send({ op: 'kick', code: 'kicked', reason: '' })
      peer.end()
      await ended
      await sleep(25)
      const expected = ['connecting', 'connected', 'missed', 'signal', 'downlink', 'refused', 'kicked', 'disconnected']
      t.strictSame(expected.filter(name => !told.includes(name)), [], 'every other listener is called')
      t.equal(told.filter(name => name === 'downlink').length, 1, 'and one that was done with its downlink is not again')
      t.equal(failures.includes('on connected'), /throw|reject/.test(way), failures.join())
    })
  }

  t.test('where nobody looks at what rejects', async t => {
    const client = givenClient(t, ['tcp://127.0.0.1:1'])
    client.send('a')
    client.sendJson(undefined)
    client.send({ a: 1 } as any)
    client.ready()
    client.once('kicked')
    client.downlinks().next()
    client.connect()
    const sent = client.send('b')
    client.close()
    client.close()
    client.ready()
    client.send('c')
    await t.rejects(sent, { code: 'disconnected' })
    await sleep(20)
  })
})

t.test('A handshake that the server cuts as bad-token is tried again where the token was none', async t => {
  const edge = await givenEdge(t)
  let asked = 0
  const client = givenClient(t, [edge.url], { getToken: () => asked++ === 0 ? 'Not Found' : 'a.b.c' }).connect()
  const lost = client.once('disconnected')
  const peer = await edge.peer()
  await peer.next('connect')
  peer.send({ op: 'error', code: 'bad-token', message: '', retryAfterMs: 0 })
  peer.end()
  t.match(await lost, { code: 'bad-token', willReconnect: true })
  const again = await edge.peer()
  t.match(await again.next('connect'), { token: 'a.b.c' })
  again.send({ ...connected })
})
