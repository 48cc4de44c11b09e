import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { inFile, inMemory } from '../../client/node.js'
import type { ClientEvents, ClientStorage, ReceivedDownlink } from '../../client/node.js'
import { givenClient, givenEdge } from './given.js'

const downlink = (seq: number, messageId = `m${seq}`) =>
  ({ op: 'downlink' as const, seq, messageId, service: '', payload: Buffer.from(`${seq}`), requestedAtMs: 0 })

t.test('A loop over downlinks', async t => {
  t.test('is done with each when it asks for the next', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const peer = await edge.peer()
    await peer.accept()
    const loop = client.downlinks()
    peer.send(downlink(1), downlink(2))
    t.match(await loop.next(), { value: { seq: 1, payload: Uint8Array.from(Buffer.from('1')) } })
    const acked = peer.next('downlinkAck')
    t.equal(await Promise.race([acked, sleep(50, 'nothing')]), 'nothing')
    t.match(await loop.next(), { value: { seq: 2 } })
    t.match(await acked, { seq: 1 })
  })

  t.test('gives the one at which it was left to the next listener, unless that was acked', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1), downlink(2), downlink(3))
    const taken: number[] = []
    for await (const each of client.downlinks()) {
      taken.push(each.seq)
      if (each.seq === 1) each.ack()
      if (taken.length === 1) break
    }
    for await (const { seq } of client.downlinks()) {
      taken.push(seq)
      if (taken.length === 2) break
    }
    t.strictSame(taken, [1, 2])
    const seen: number[] = []
    client.on('downlink', ({ seq }) => { seen.push(seq) })
    while ((await peer.next('downlinkAck')).seq < 3);
    t.strictSame(seen, [2, 3])
  })

  t.test('ends with close', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    await (await edge.peer()).accept()
    const next = client.downlinks().next()
    await client.close()
    t.strictSame(await next, { done: true, value: undefined })
    t.strictSame(await client.downlinks().next(), { done: true, value: undefined })
  })

  t.test('throws why the client ended otherwise', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url]).connect()
    const peer = await edge.peer()
    await peer.accept()
    const next = client.downlinks().next()
    peer.send({ op: 'kick', code: 'kicked', reason: 'by an operator' })
    peer.end()
    await t.rejects(next, { name: 'ClientError', code: 'kicked', message: 'by an operator' })
  })
})

t.test('With manual acks', async t => {
  t.test('downlinks come without waiting, and are acked up to the first that is not done with', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { ack: 'manual' }).connect()
    const seen: ReceivedDownlink[] = []
    client.on('downlink', each => { seen.push(each) })
    const peer = await edge.peer()
    await peer.accept()
    peer.send(downlink(1), downlink(2), downlink(3))
    while (seen.length < 3) await sleep(1)
    seen[1]!.ack()
    seen[0]!.ack()
    t.match(await peer.next('downlinkAck'), { seq: 2 })
    peer.cut()
    const second = await edge.peer()
    t.equal((await second.accept({ downlinkSeq: 2 })).downlinkSeq, 2)
    second.send(downlink(3))
    seen[2]!.ack()
    t.match(await second.next('downlinkAck'), { seq: 3 })
    t.equal(seen.length, 3)
  })
})

t.test('With a storage', async t => {
  t.test('the next run goes on where the last one was', async t => {
    const edge = await givenEdge(t)
    const storage = inMemory()
    const first = givenClient(t, [edge.url], { storage }).connect()
    first.on('downlink', () => {})
    const peer = await edge.peer()
    const { sessionId } = await peer.accept()
    peer.send(downlink(1), downlink(2))
    while ((await peer.next('downlinkAck')).seq < 2);
    const sent = [first.send('a'), first.send('b')]
    sent[1]!.catch(() => {})
    await peer.nextSeqs(2)
    peer.send({ op: 'uplinkAck', seq: 1, userSeqs: [5] })
    await sent[0]
    await first.close()
    await t.rejects(sent[1]!, { code: 'disconnected' })

    const second = givenClient(t, [edge.url], { storage }).connect()
    const accepted = new Promise(resolve => second.on('accepted', resolve))
    const seen: string[] = []
    second.on('downlink', ({ messageId }) => { seen.push(messageId) })
    const again = await edge.peer()
    t.match(await again.accept({ uplinkSeq: 1, downlinkSeq: 2 }), { sessionId, downlinkSeq: 2 })
    t.match(await again.next('uplink'), { seq: 2, payload: Buffer.from('b') })
    again.send({ op: 'uplinkAck', seq: 2, userSeqs: [6] }, downlink(3, 'm1'), downlink(4))
    t.match(await accepted, { seq: 2, userSeq: 6, payload: Buffer.from('b') })
    while ((await again.next('downlinkAck')).seq < 4);
    t.strictSame(seen, ['m4'], 'and a message that was redelivered is known')
  })

  t.test('of another user nothing is sent', async t => {
    const edge = await givenEdge(t)
    const storage = inMemory()
    const first = givenClient(t, [edge.url], { storage }).connect()
    const connected = new Promise(resolve => first.on('connected', resolve))
    await (await edge.peer()).accept({ userId: 'ann' })
    await connected
    first.send('secret').catch(() => {})
    await first.close()

    const second = givenClient(t, [edge.url], { storage })
    const ended = new Promise(resolve => second.on('disconnected', resolve))
    second.connect()
    const peer = await edge.peer()
    await peer.accept({ userId: 'bob' })
    t.match(await ended, {
      code: 'bad-token', reason: 'the storage is that of user ann, and the token that of bob', willReconnect: false,
    })
    t.equal((await peer.any()).op, 'disconnect')
  })

  const unusable: Array<[string, ClientStorage, unknown]> = [
    ['that can not be opened', { ...inMemory(), open: async () => { throw new Error('broken') } }, 'broken'],
    ['that throws', { ...inMemory(), open () { throw new Error('broken') } }, 'broken'],
    ['that has no map', { ...inMemory(), open: async () => undefined as any }, 'the storage gave no map'],
    ['whose session is damaged', { ...inMemory(), open: async () => new Map([['session', '{"sessionId":1}']]) }, /is damaged/],
    ['whose session is no JSON', { ...inMemory(), open: async () => new Map([['session', '{']]) }, /JSON/],
    ['that can not be closed', { ...inMemory(), close: async () => { throw new Error('stuck') } }, 'stuck'],
    ['that is none', {} as any, /not a function/],
  ]
  for (const [what, storage, message] of unusable) {
    t.test(`${what} it goes on in memory, and says so`, async t => {
      const edge = await givenEdge(t)
      const client = givenClient(t, [edge.url], { storage })
      const failed = new Promise<unknown>(resolve => client.on('storageFailed', ({ error }) => resolve(error)))
      const sent = client.connect().send('a')
      const peer = await edge.peer()
      t.match(await peer.accept(), { sessionId: /^[0-9a-f-]{36}$/ })
      t.match(await peer.next('uplink'), { seq: 1 })
      peer.send({ op: 'uplinkAck', seq: 1, userSeqs: [1] })
      t.match(await sent, { seq: 1 })
      await client.close()
      t.match(await failed, { message })
    })
  }

  t.test('that another client has it waits, says so, and takes over what is there', async t => {
    const edge = await givenEdge(t)
    const storage = inMemory()
    let isBusy = true
    const client = givenClient(t, [edge.url], {
      storage: {
        ...storage,
        open: async lost => {
          if (isBusy) throw Object.assign(new Error('process 7 has it'), { code: 'busy' })
          return await storage.open(lost)
        },
      },
    })
    await storage.write(new Map([['session', '{"sessionId":"s","ackedSeq":3,"offeredSeq":3}']]))
    const failures: unknown[] = []
    const failed = new Promise(resolve => client.on('storageFailed', event => resolve(failures.push(event))))
    client.connect()
    await failed
    t.equal(edge.count(), 0)
    isBusy = false
    t.equal((await (await edge.peer()).accept({ uplinkSeq: 3 })).sessionId, 's')
    t.match(failures, [{ error: { message: 'process 7 has it' } }])
  })

  t.test('in a file that another client has it waits for that to close, and goes on with what is there', async t => {
    const edge = await givenEdge(t)
    const path = `${t.testdir()}/ann`
    const first = givenClient(t, [edge.url], { storage: inFile(path) }).connect()
    first.send('a').catch(() => {})
    const peer = await edge.peer()
    const { sessionId } = await peer.accept()
    await peer.next('uplink')
    const second = givenClient(t, [edge.url], { storage: inFile(path) })
    const failed = new Promise<any>(resolve => second.on('storageFailed', resolve))
    second.connect()
    t.match((await failed).error, { code: 'busy', message: /another client of this process has it/ })
    t.equal(edge.count(), 1)
    await first.close()
    const next = await edge.peer()
    t.equal((await next.accept()).sessionId, sessionId)
    t.match(await next.next('uplink'), { seq: 1, payload: Buffer.from('a') })
  })

  t.test('that another client has it can be closed', async t => {
    const open = async () => { throw Object.assign(new Error('process 7 has it'), { code: 'busy' }) }
    const client = givenClient(t, ['tcp://127.0.0.1:1'], { storage: { ...inMemory(), open } })
    const failed = new Promise(resolve => client.on('storageFailed', resolve))
    const sent = client.connect().send('a')
    sent.catch(() => {})
    await failed
    await client.close()
    await t.rejects(sent, { code: 'disconnected' })
  })

  t.test('that another client takes over it ends, as superseded', async t => {
    const edge = await givenEdge(t)
    let lost = () => {}
    const client = givenClient(t, [edge.url], {
      storage: {
        ...inMemory(),
        open: async onLost => {
          lost = onLost
          return new Map()
        },
      },
    })
    const ended = new Promise(resolve => client.on('disconnected', resolve))
    client.connect()
    await (await edge.peer()).accept()
    lost()
    t.match(await ended, { code: 'superseded', willReconnect: false })
  })

  t.test('it remembers how seldom a network lets it ping', async t => {
    const edge = await givenEdge(t)
    const storage = inMemory()
    const options = { storage, heartbeat: 'adaptive', network: () => 'wifi:home' } as const
    const client = givenClient(t, [edge.url], options).connect()
    const peer = await edge.peer()
    await peer.accept({ heartbeatMs: 50 })
    for (let i = 0; i < 3; i++) {
      await peer.next('ping')
      peer.send({ op: 'pong', uplinkSeq: 0 })
    }
    await peer.next('ping')
    await client.close()
    const kept = await storage.open(() => {})
    t.equal(kept.get('heartbeat/wifi:home'), '60')
    t.equal(kept.get('user'), 'ann')

    givenClient(t, [edge.url], { ...options, network: () => 'cell' }).connect()
    const other = await edge.peer()
    await other.accept({ heartbeatMs: 50 })
    await other.next('ping')
  })

  t.test('that is full it goes on, and says so', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], {
      storage: { ...inMemory(), write: async () => { throw new Error('full') } },
    })
    const failed = new Promise(resolve => client.on('storageFailed', resolve))
    const sent = client.connect().send('a')
    const peer = await edge.peer()
    await peer.accept()
    t.match(await peer.next('uplink'), { seq: 1 })
    peer.send({ op: 'uplinkAck', seq: 1, userSeqs: [1] })
    t.match(await sent, { seq: 1 })
    t.match(await failed, { error: { message: 'full' } })
  })
})

t.test('Without hope', async t => {
  t.test('the client ends after so many attempts', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { attemptsMax: 3 }).connect()
    const events: Array<ClientEvents['disconnected']> = []
    client.on('disconnected', event => events.push(event))
    const sent = client.send('a')
    sent.catch(() => {})
    for (let i = 0; i < 3; i++) (await edge.peer()).cut()
    await t.rejects(sent, { code: 'connection-lost', message: /gave up after 3 attempts in \d+ s/ })
    t.strictSame(events.map(({ willReconnect }) => willReconnect), [true, true, false])
  })

  t.test('it ends after so long', async t => {
    const edge = await givenEdge(t)
    const client = givenClient(t, [edge.url], { giveUpAfterMs: 100, random: () => 0.03 }).connect()
    const ended = new Promise(resolve => client.on('disconnected', event => { if (!event.willReconnect) resolve(event) }))
    const peers = (async () => { for (;;) (await edge.peer()).cut() })()
    peers.catch(() => {})
    t.match(await ended, { code: 'connection-lost', reason: /gave up/ })
  })
})
