import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { createService } from '../../service/service.js'
import { startTestNode, until } from '../gateway/node.js'
import { serve } from './gateway-stub.js'

const key = 'the-key-of-a-test-node'

t.test('Sending to many', async t => {
  /** @returns whom it was told of, and how it ended */
  async function pushed (url: string, userIds: Iterable<string> | AsyncIterable<string> = ['u0', 'u1', 'u2']) {
    const told: string[] = []
    try {
      for await (const { userId } of createService({ url, apiKey: key }).pushMany({ payload: 'x' }, userIds)) told.push(userId)
      return { told, err: undefined }
    } catch (err) {
      return { told, err }
    }
  }
  const answering = (t: Test, end: (to: ServerResponse) => void) => serve(t, (request, response) => {
    request.resume()
    response.writeHead(202).write('{"messageId":"m"}\n{"line":2,"userId":"u0","status":"queued"}\n')
    end(response)
  })

  await t.test('fails where the gateway says so at its end', async t => {
    const last = JSON.stringify({ totals: { lines: 1 }, error: { code: 'not-ready', message: 'this node is stopping' } })
    const { told, err } = await pushed(await answering(t, response => { response.end(`${last}\n`) }))
    t.strictSame(told, ['u0'])
    t.match(err, { name: 'ServiceError', code: 'not-ready', message: 'this node is stopping', status: 503 })
  })

  await t.test('fails where the answer is cut, or ends without totals', async t => {
    for (const end of [
      (response: ServerResponse) => { setTimeout(() => response.destroy(), 100) },
      (response: ServerResponse) => { response.end('{"line":3,"us') },
    ]) {
      const { told, err } = await pushed(await answering(t, end))
      t.strictSame(told, ['u0'])
      t.match(err, { name: 'ServiceError', code: 'unreachable' })
    }
  })

  await t.test('ends without an error where all were told of', async t => {
    const { told, err } = await pushed(await answering(t, response => { response.end('{"totals":{"lines":1}}\n') }))
    t.strictSame([told, err], [['u0'], undefined])
  })

  await t.test('passes on what its source throws', async t => {
    const node = await startTestNode(t)
    const gone = new Error('the database is gone')
    let isClosed = false
    const source = (async function * () {
      try {
        for (let i = 0; i < 5; i++) yield `u${i}`
        await new Promise(resolve => { setTimeout(resolve, 100) })
        throw gone
      } finally {
        isClosed = true
      }
    })()
    t.equal((await pushed(node.api, source)).err, gone)
    t.ok(isClosed)
    t.equal((await pushed(node.api, (function * (): Generator<string> { throw gone })())).err, gone, 'at once')
  })
})

t.test('An ack of a group', async t => {
  /** A gateway that has these statuses for the cursors of one request after the other. */
  async function acking (t: Test, ...answers: Array<Record<string, { status: string, code?: string }> | undefined>) {
    const asked: string[][] = []
    const url = await serve(t, async (request, response) => {
      const { cursors } = await json(request) as { cursors: string[] }
      asked.push(cursors)
      const answer = answers.shift()
      if (answer) response.end(JSON.stringify({ acks: cursors.map(cursor => ({ cursor, ...answer[cursor] })) }))
    })
    return { asked, group: createService({ url, apiKey: key, retryForMs: 5_000 }).group('orders') }
  }
  const acked = { status: 'acked' }
  const unstored = { status: 'rejected', code: 'ledger-unavailable' }

  await t.test('is asked for again alone where it alone is not known to be stored', async t => {
    const a = { a: acked, b: unstored, c: { status: 'rejected', code: 'not-leased' } }
    const { asked, group } = await acking(t, { first: acked }, a, { b: acked })
    const told = await Promise.all(['first', 'a', 'b', 'c'].map(cursor => group.ack(cursor)))
    t.strictSame(told, [true, true, true, false])
    t.strictSame(asked, [['first'], ['a', 'b', 'c'], ['b']])
  })

  await t.test('fails where it is not known to be stored for long', async t => {
    const url = await serve(t, (request, response) => {
      request.resume()
      response.end(JSON.stringify({ acks: [unstored] }))
    })
    const group = createService({ url, apiKey: key, retryForMs: 300 }).group('orders')
    await t.rejects(group.ack('a'), { name: 'ServiceError', code: 'ledger-unavailable', status: 503 })
  })

  await t.test('does not wait for the answer to one before it that does not come', async t => {
    const { group } = await acking(t, undefined, { b: acked })
    group.ack('a').catch(() => {})
    t.equal(await group.ack('b'), true)
  })

  await t.test('is told to be another reader\'s now, also where its reply can not be sent', async t => {
    const url = await serve(t, async (request, response) => {
      if (request.method === 'GET') return response.write('{"cursor":"a","userId":"ann","userSeq":1,"payload":"x"}\n')
      await json(request)
      const replies = [{ code: 'bad-request', message: 'ttlMs: want 1' }]
      return response.end(JSON.stringify({ acks: [{ status: 'rejected', code: 'not-leased' }], replies }))
    })
    const ending = new AbortController()
    const reader = createService({ url, apiKey: key }).group('orders').read('uplinks', { signal: ending.signal })
    for await (const uplink of reader) {
      t.equal(await uplink.ack({ replies: [{ payload: 'x', ttlMs: 0 }] }), false)
      ending.abort()
    }
  })
})

t.test('A reader from now on misses nothing of what came while its connection was broken', async t => {
  const node = await startTestNode(t)
  const sockets = new Set<Socket>()
  let isOpen = true
  const proxy = createServer(socket => {
    if (!isOpen) return socket.destroy()
    const there = connect(Number(new URL(node.api).port))
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => there.destroy())
    there.on('error', () => {}).on('close', () => socket.destroy())
    socket.pipe(there).pipe(socket)
    return socket
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const ending = new AbortController()
  t.teardown(() => {
    ending.abort()
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  const service = createService({ url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, apiKey: key })
  const post = async (i: number) => {
    await node.request('POST', '/v1/rooms/r/posts', { messageId: `m${i}`, payload: 'x' })
  }
  await post(1)
  const stored = async () => (await node.request('GET', '/v1/streams/posts')).text.split('\n').length - 1
  await until('it is in the stream', async () => await stored() === 1)
  const got: number[] = []
  const reading = (async () => {
    for await (const { roomSeq } of service.read('posts', { after: 'now', signal: ending.signal })) got.push(roomSeq)
  })()
  await until('it has been told where it began', () => [...sockets].some(({ bytesWritten }) => bytesWritten > 0))
  await new Promise(resolve => { setTimeout(resolve, 300) })
  isOpen = false
  for (const socket of sockets) socket.destroy()
  for (let i = 2; i <= 5; i++) await post(i)
  await until('they are in the stream', async () => await stored() === 5)
  isOpen = true
  await until('all that came since it began has come', () => got.length === 4)
  t.strictSame(got, [2, 3, 4, 5])
  ending.abort()
  await reading
})
