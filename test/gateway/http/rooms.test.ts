import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import t, { type Test } from 'tap'
import type { RoomPost } from '../../../actors/room-links.js'
import type { RoomsOptions } from '../../../gateway/http/rooms.js'
import type { CloseCommand, PostCommand } from '../../../gateway/rooms.js'
import { GatewayError } from '../../../schemas/errors.js'
import type { Posted } from '../../../schemas/records.js'
import type { Block, ReadRange } from '../../../ledger/log.js'
import { posts, type Stream } from '../../../schemas/streams.js'
import { MemoryLog } from '../../projections/memory-log.js'
import { until } from '../node.js'
import { givenApp, key as headers } from './given.js'

class PostsLog extends MemoryLog<Posted> {
  override readonly stream = posts
  override async bounds () { return { first: 0n, next: 1_000n } }
}

/** Has nothing of the room that is asked for, and long to look for it. */
class LongLog extends PostsLog {
  reading: ReadRange | undefined
  hasEnded = false

  override async * read<U> (_stream: Stream<U>, _partition: number, range: ReadRange): AsyncIterable<Block<U>> {
    this.reading = range
    if (range.signal) await once(range.signal, 'abort')
    this.hasEnded = true
  }
}

function given (t: Test, rooms: Partial<RoomsOptions['rooms']> = {}, logReader = new PostsLog(), postsReadMs = 60_000) {
  const asked = { posted: [] as PostCommand[], repeats: [] as boolean[], closed: [] as CloseCommand[] }
  const { app } = givenApp(t, {
    logReader,
    postsReadMs,
    rooms: {
      post: async (command, tellsRepeats) => {
        asked.posted.push(command)
        asked.repeats.push(tellsRepeats)
        return { messageId: command.messageId, status: 'queued', position: '3@1021.4' }
      },
      close: async command => {
        asked.closed.push(command)
        return '3@7.0'
      },
      info: async () => ({ roomSeq: 7, keptAfter: 2, closed: false, nodes: [{ nodeId: 'n1', members: 3 }, { nodeId: 'n2', members: null }] }),
      keptPosts: async () => undefined,
      timeOf: async () => ({ postedAtMs: 0, roomSeq: 1_000_000 }),
      members: async () => ({
        members: [{ userId: 'ann', deviceId: 'phone', connectionId: 'c1', nodeId: 'n1' }], next: null, total: 1, unknown: ['n2'],
      }),
      ...rooms,
    },
  })
  const ask = async (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) => await app.inject({ method, url, headers, payload })
  return { app, ask, asked, logReader }
}

t.test('A post in a room over HTTP', async t => {
  t.test('is handed on with the defaults, and answered', async t => {
    const { ask, asked } = given(t)
    const response = await ask('POST', '/v1/rooms/chat%3A7/posts', { payload: 'hi' })
    t.equal(response.statusCode, 202)
    const [command] = asked.posted
    t.strictSame(command, {
      roomId: 'chat:7', messageId: command!.messageId, service: '', payload: Buffer.from('hi'), delivery: 'durable', by: '',
    })
    t.match(command!.messageId, /^[0-9a-f-]{36}$/)
    t.strictSame(response.json(), { messageId: command!.messageId, status: 'queued', position: '3@1021.4' })
    t.strictSame(asked.repeats, [false], 'nobody asks for a repeat of an id that was drawn')
  })

  t.test('is handed on as it is', async t => {
    const { ask, asked } = given(t)
    const body = { messageId: 'm1', service: 'chat', payload: { base64: 'AP8=' }, delivery: 'signal' }
    t.equal((await ask('POST', '/v1/rooms/a%2Fb/posts', body)).statusCode, 202)
    t.strictSame(asked.posted, [{ ...body, roomId: 'a/b', payload: Buffer.from([0, 255]), by: '' }])
    t.strictSame(asked.repeats, [true])
  })

  t.test('is refused where it makes no sense, is too large, or the room is closed', async t => {
    const { ask, asked } = given(t)
    for (const body of [{}, { payload: 7 }, { payload: 'hi', to: {} }, { payload: 'hi', messageId: '' }, { payload: 'hi', delivery: 'x' }]) {
      t.match((await ask('POST', '/v1/rooms/chat/posts', body)).json(), { statusCode: 400, code: 'bad-request' }, JSON.stringify(body))
    }
    t.equal((await ask('POST', `/v1/rooms/${'a'.repeat(257)}/posts`, { payload: 'hi' })).statusCode, 400)
    t.equal((await ask('POST', '/v1/rooms/a%00b/posts', { payload: 'hi' })).statusCode, 400)
    t.match((await ask('POST', '/v1/rooms/chat/posts', { payload: 'a'.repeat(1_024) })).json(), { statusCode: 413, code: 'payload-too-large' })
    t.strictSame(asked.posted, [])
    const closed = given(t, { post: async () => { throw new GatewayError('room-closed') } })
    t.match((await closed.ask('POST', '/v1/rooms/chat/posts', { payload: 'hi' })).json(), { statusCode: 410, code: 'room-closed' })
  })
})

t.test('A room over HTTP', async t => {
  t.test('is told with its nodes, and how many are in it', async t => {
    const { ask } = given(t)
    t.strictSame((await ask('GET', '/v1/rooms/chat')).json(), {
      roomId: 'chat', roomSeq: 7, keptAfter: 2, closed: false, members: 3, nodes: [{ nodeId: 'n1', members: 3 }, { nodeId: 'n2', members: null }],
    })
  })
  t.test('has members, and says which nodes do not answer', async t => {
    const { ask } = given(t)
    t.strictSame((await ask('GET', '/v1/rooms/chat/members')).json(), {
      roomId: 'chat',
      members: [{ userId: 'ann', deviceId: 'phone', connectionId: 'c1', nodeId: 'n1' }],
      next: null,
      total: 1,
      unknown: ['n2'],
    })
    for (const query of ['limit=0', 'limit=1001', 'limit=x', 'after=a%20b', 'x=1']) {
      t.equal((await ask('GET', `/v1/rooms/chat/members?${query}`)).statusCode, 400, query)
    }
  })
  t.test('is closed once', async t => {
    const { ask, asked } = given(t)
    t.match((await ask('DELETE', '/v1/rooms/chat?reason=over&requestId=r1')), { statusCode: 202, body: '{"roomId":"chat","position":"3@7.0"}' })
    t.strictSame(asked.closed, [{ roomId: 'chat', requestId: 'r1', reason: 'over', by: '' }])
    const before = given(t, { close: async () => undefined })
    t.strictSame((await before.ask('DELETE', '/v1/rooms/chat')).json(), { roomId: 'chat', position: null })
  })
  t.test('has its posts in order, each once, from a place on', async t => {
    const { ask, logReader } = given(t)
    const post = (roomId: string, roomSeq: number): Posted =>
      ({ roomId, roomSeq, messageId: `m${roomSeq}`, from: roomSeq === 2 ? 'ann' : '', service: '', payload: Buffer.from(`${roomSeq}`), postedAtMs: 5 })
    logReader.add([post('chat', 1), post('other', 1)])
    logReader.add([post('chat', 1), post('chat', 2), post('chat', 3)])
    logReader.add([post('shop\u001fchat', 4)])
    const told = async (query = '') => {
      const response = await ask('GET', `/v1/rooms/chat/posts${query}`)
      t.equal(response.headers['content-type'], 'application/x-ndjson')
      return response.body.split('\n').filter(line => line !== '').map(line => JSON.parse(line))
    }
    t.match(await told(), [{ roomSeq: 1, from: null, payload: '1' }, { roomSeq: 2, from: 'ann' }, { roomSeq: 3 }])
    t.strictSame((await told('?after=1&limit=1')).map(({ roomSeq }) => roomSeq), [2])
    t.strictSame(await told('?after=3'), [])
    t.equal((await ask('GET', '/v1/rooms/chat/posts?after=x')).statusCode, 400)
  })
  t.test('has the posts that it keeps without anything being read', async t => {
    const post = (roomSeq: number): RoomPost => ({
      roomSeq, messageId: `m${roomSeq}`, from: 'ann', service: '', payload: Buffer.from('x'), postedAtMs: 5, encoded: new Map(),
    })
    const log = new LongLog()
    const wanted: unknown[] = []
    const { ask } = given(t, {
      keptPosts: async (roomKey, afterSeq, max) => {
        wanted.push([roomKey, afterSeq, max])
        return [post(8), post(9)].slice(0, max)
      },
    }, log)
    const line = { roomSeq: 8, messageId: 'm8', from: 'ann', service: '', payload: 'x', postedAtMs: 5 }
    const lines = `${JSON.stringify(line)}\n${JSON.stringify({ ...line, roomSeq: 9, messageId: 'm9' })}\n`
    t.match(await ask('GET', '/v1/rooms/chat/posts?after=7'), { statusCode: 200, body: lines, headers: { 'content-type': /ndjson/ } })
    t.equal((await ask('GET', '/v1/rooms/chat/posts?after=7&limit=1')).body, `${JSON.stringify(line)}\n`)
    t.strictSame([wanted, log.reading], [[['chat', 7, Infinity], ['chat', 7, 1]], undefined])
  })
  t.test('is told what it keeps to 64 at a time, and asked for no more than is wanted', async t => {
    const asked: number[] = []
    let answer = () => {}
    const answered = new Promise<void>(resolve => { answer = resolve })
    const { ask } = given(t, {
      keptPosts: async (_roomKey, _afterSeq, max) => {
        asked.push(max)
        await answered
        return []
      },
    })
    const answers = Array.from({ length: 64 }, () => ask('GET', '/v1/rooms/chat/posts?after=7&limit=3'))
    await until('all are asked for', () => asked.length === 64)
    t.match((await ask('GET', '/v1/rooms/chat/posts?after=7')).json(), { statusCode: 503, code: 'overloaded' })
    t.strictSame([...new Set(asked)], [3])
    answer()
    t.strictSame([...new Set((await Promise.all(answers)).map(({ statusCode }) => statusCode))], [200])
    t.equal((await ask('GET', '/v1/rooms/chat/posts?after=7')).statusCode, 200, 'and those that come later')
    t.strictSame(asked.slice(64), [Infinity])
  })

  t.test('has its posts read by 16 at a time', async t => {
    const { app, ask } = given(t, {}, new LongLog())
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as { port: number }
    const ones = Array.from({ length: 16 }, () => get({ host: '127.0.0.1', port, path: '/v1/rooms/chat/posts', headers }))
    const readers = await Promise.all(ones.map(async one => (await once(one, 'response'))[0] as IncomingMessage))
    t.match((await ask('GET', '/v1/rooms/chat/posts')).json(), { statusCode: 503, code: 'overloaded' })
    for (const reader of readers) reader.on('error', () => {}).destroy()
    const again = await until('one has gone', async () => {
      const one = get({ host: '127.0.0.1', port, path: '/v1/rooms/chat/posts', headers })
      const [response] = await once(one, 'response') as [IncomingMessage]
      response.on('error', () => {}).destroy()
      return response.statusCode === 200
    })
    t.ok(again)
  })

  t.test('has its posts read where its owner does not answer', async t => {
    const { ask, logReader } = given(t, { keptPosts: async () => { throw new GatewayError('not-ready') } })
    logReader.add([{ roomId: 'chat', roomSeq: 8, messageId: 'm', from: '', service: '', payload: Buffer.from('x'), postedAtMs: 5 }])
    t.match((await ask('GET', '/v1/rooms/chat/posts?after=7')).json(), { roomSeq: 8 })
  })
  t.test('has its owner asked once where that does not answer', async t => {
    let asked = 0
    const { ask, logReader } = given(t, {
      keptPosts: async () => { throw new GatewayError('not-ready') },
      timeOf: async () => {
        asked++
        throw new GatewayError('not-ready')
      },
    })
    logReader.add([{ roomId: 'chat', roomSeq: 8, messageId: 'm', from: '', service: '', payload: Buffer.from('x'), postedAtMs: 5 }])
    t.match((await ask('GET', '/v1/rooms/chat/posts?after=7')).json(), { roomSeq: 8 })
    t.equal(asked, 0)
  })
  t.test('has its posts read from the beginning where a wrong clock led to others, for as long as one answer may read', async t => {
    const log = new PostsLog()
    const post = (roomId: string, roomSeq: number): Posted =>
      ({ roomId, roomSeq, messageId: `m${roomSeq}`, from: '', service: '', payload: Buffer.from('x'), postedAtMs: 5 })
    for (let roomSeq = 1; roomSeq <= 3; roomSeq++) log.add([post('chat', roomSeq)])
    for (let roomSeq = 1; roomSeq <= 9; roomSeq++) log.add([post('other', roomSeq)])
    Object.assign(log, { offsetAt: async () => 5n })
    const { ask } = given(t, { timeOf: async () => ({ postedAtMs: 100_000, roomSeq: 3 }) }, log, 0)
    const told: number[] = []
    let from = ''
    for (let answers = 0; answers < 10; answers++) {
      const { body } = await ask('GET', `/v1/rooms/chat/posts?after=${told.length}&from=${from}`)
      const lines = body.split('\n').filter(line => line !== '').map(line => JSON.parse(line))
      told.push(...lines.flatMap(({ roomSeq }) => roomSeq ?? []))
      from = lines.at(-1)?.next ?? ''
      if (from === '') break
    }
    t.strictSame(told, [1, 2, 3])
  })
  t.test('has its posts read for some time, and says where to go on', async t => {
    const { ask, logReader } = given(t, {}, new PostsLog(), 0)
    const post = (roomId: string, roomSeq: number): Posted =>
      ({ roomId, roomSeq, messageId: `m${roomSeq}`, from: '', service: '', payload: Buffer.from('x'), postedAtMs: 5 })
    for (let roomSeq = 1; roomSeq <= 3; roomSeq++) logReader.add([post('other', roomSeq), post('chat', roomSeq)])
    const told: object[] = []
    let from = ''
    for (let answers = 0; answers < 10; answers++) {
      const { body } = await ask('GET', `/v1/rooms/chat/posts?after=1&from=${from}`)
      const lines = body.split('\n').filter(line => line !== '').map(line => JSON.parse(line))
      told.push(...lines.map(({ roomSeq, next }) => roomSeq ?? next))
      from = lines.at(-1)?.next ?? ''
      if (from === '') break
    }
    t.strictSame(told, ['0@1', 2, '0@2', 3, '0@3'])
    for (const place of ['1@0', '0@1001', 'x', '0@1.1']) {
      t.match((await ask('GET', `/v1/rooms/chat/posts?from=${place}`)).json(), { statusCode: 400, code: 'bad-request' }, place)
    }
  })
  t.test('has its posts read from about the time on at which they were posted, up to its last one', async t => {
    const post = (roomId: string, roomSeq: number): Posted =>
      ({ roomId, roomSeq, messageId: `m${roomSeq}`, from: '', service: '', payload: Buffer.from('x'), postedAtMs: 5 })
    const readFrom: bigint[] = []
    class TimedLog extends PostsLog {
      override read<U> (stream: Stream<U>, partition: number, range: ReadRange): AsyncIterable<Block<U>> {
        readFrom.push(range.from)
        return super.read(stream, partition, range)
      }
    }
    const log = new TimedLog()
    Object.assign(log, { offsetAt: async (_stream: unknown, _of: number, atMs: number) => BigInt(atMs + 60_000) })
    for (let roomSeq = 1; roomSeq <= 6; roomSeq++) log.add([post('chat', roomSeq), post('other', roomSeq)])
    const about = { postedAtMs: 3, roomSeq: 5 }
    const asked: unknown[] = []
    const { ask } = given(t, {
      timeOf: async (roomKey, roomSeq) => {
        asked.push([roomKey, roomSeq])
        return about
      },
    }, log)
    const told = async (query: string) => {
      readFrom.length = 0
      const { body } = await ask('GET', `/v1/rooms/chat/posts${query}`)
      return body.split('\n').filter(line => line !== '').map(line => JSON.parse(line).roomSeq)
    }
    t.strictSame([await told('?after=3'), readFrom], [[4, 5], [3n]])
    t.strictSame([await told('?after=4&limit=1'), readFrom], [[5], [3n]])
    t.strictSame([await told('?after=1'), readFrom], [[2, 3, 4, 5], [3n, 0n]], 'and from the beginning where that was too late')
    about.postedAtMs = 900
    t.strictSame([await told('?after=3'), readFrom], [[4, 5], [900n, 0n]], 'or where there is none of them')
    about.postedAtMs = 0
    t.strictSame([await told('?after=3'), readFrom], [[4, 5], [0n]], 'or where the time is not known')
    t.strictSame(asked, [['chat', 4], ['chat', 5], ['chat', 2], ['chat', 4], ['chat', 4]])
  })
  t.test('has its posts read to the end where its owner says neither time nor number', async t => {
    const { ask, logReader } = given(t, { timeOf: async () => { throw new GatewayError('not-ready') } })
    logReader.add([{ roomId: 'chat', roomSeq: 8, messageId: 'm', from: '', service: '', payload: Buffer.from('x'), postedAtMs: 5 }])
    t.match((await ask('GET', '/v1/rooms/chat/posts?after=7')).json(), { roomSeq: 8 })
  })
  t.test('that are gone are told first, and nothing before them is read', async t => {
    const log = new PostsLog()
    log.bounds = async () => ({ first: 70_000n, next: 70_000n })
    const { ask } = given(t, {}, log)
    t.equal((await ask('GET', '/v1/rooms/chat/posts')).body, '{"hole":{"partition":0,"from":"0","to":"70000"}}\n')
  })
  t.test('has its posts read up to the end as it was, and no longer than somebody wants them', async t => {
    const log = new LongLog()
    const { app } = given(t, {}, log)
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const request = get(`${url}/v1/rooms/chat/posts`, { headers })
    request.on('error', () => {})
    const [response] = await once(request, 'response') as [IncomingMessage]
    t.equal(response.statusCode, 200)
    response.on('error', () => {}).resume()
    await until('it reads', () => log.reading !== undefined)
    t.match(log.reading, { to: 1_000n, signal: AbortSignal })
    request.destroy()
    await until('it has ended', () => log.hasEnded)
  })
})
