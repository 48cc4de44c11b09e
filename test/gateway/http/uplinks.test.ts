import { once } from 'node:events'
import { get } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import { piecesOf } from '../../../gateway/http/readers.js'
import { givenApp, givenUplinks, key, uplink } from './given.js'

const readAll = async (t: Test, uplinks: Pick<ReturnType<typeof givenUplinks>, 'log'>, query = '') => {
  const { app } = givenApp(t, { logReader: uplinks.log })
  const response = await app.inject({ url: `/v1/uplinks${query}`, headers: key })
  t.equal(response.statusCode, 200)
  return response.body.split('\n').filter(line => line !== '').map(line => JSON.parse(line))
}

t.test('Uplinks', async t => {
  t.test('are lines with all that is known of them', async t => {
    const uplinks = givenUplinks([[[uplink('ann', 7, { seq: 3, service: 'chat', priority: 1, roomId: 'chat:7' })]]])
    const [line, ...others] = await readAll(t, uplinks)
    t.strictSame(others, [])
    t.strictSame(line, {
      cursor: line.cursor,
      userId: 'ann',
      userSeq: 7,
      deviceId: 'phone',
      platform: 'ios',
      sessionId: 's1',
      seq: 3,
      service: 'chat',
      payload: 'ann 7',
      priority: 1,
      receivedAtMs: 1_700_000_000_000,
      connectionId: 'c1',
      roomId: 'chat:7',
    })
    t.match(line.cursor, /^[\w-]+$/)
  })

  t.test('have payloads as text where they are UTF-8, else as base64', async t => {
    const payload = (bytes: number[]) => uplink('ann', 1, { payload: Uint8Array.from(bytes) })
    const lines = await readAll(t, givenUplinks([[[payload([0xc3, 0xbc]), payload([]), payload([0, 0xff])]]]))
    t.strictSame(lines.map(line => line.payload), ['ü', '', { base64: 'AP8=' }])
  })

  t.test('come in order within each partition', async t => {
    const lines = await readAll(t, givenUplinks([
      [[uplink('ann', 1), uplink('ann', 2)], [uplink('ann', 3)]],
      [[uplink('bob', 1)], [uplink('bob', 2), uplink('bob', 3)]],
    ]))
    const of = (userId: string) => lines.filter(line => line.userId === userId).map(line => line.userSeq)
    t.strictSame([of('ann'), of('bob')], [[1, 2, 3], [1, 2, 3]])
  })

  t.test('are none where the stream is empty', async t => {
    t.strictSame(await readAll(t, givenUplinks([[], []])), [])
  })

  t.test('go on exactly after any line, with whatever filter', async t => {
    const user = fc.constantFrom('ann', 'bob')
    const service = fc.constantFrom('', 'chat', 'orders')
    const block = fc.array(fc.record({ userId: user, service }), { minLength: 1, maxLength: 4 })
    await fc.assert(fc.asyncProperty(
      fc.array(fc.array(block, { maxLength: 4 }), { minLength: 1, maxLength: 3 }),
      fc.option(service, { nil: undefined }),
      fc.nat(),
      async (shape, service, cut) => {
        let userSeq = 0
        const partitions = shape.map(blocks =>
          blocks.map(block => block.map(fields => uplink(fields.userId, ++userSeq, fields))))
        const uplinks = givenUplinks(partitions)
        const filter = service === undefined ? '' : `&service=${service}`
        const all = await readAll(t, uplinks, `?follow=false${filter}`)
        if (all.length === 0) return
        const at = cut % all.length
        const rest = await readAll(t, uplinks, `?after=${all[at].cursor}${filter}`)
        const ids = (lines: any[]) => lines.map(line => line.userSeq).sort((a, b) => a - b)
        t.strictSame(ids([...all.slice(0, at + 1), ...rest]), ids(all))
        const wanted = partitions.flat(2).filter(each => service === undefined || each.service === service)
        t.strictSame(ids(all), ids(wanted))
      }), { numRuns: 50 })
  })

  t.test('end a line nowhere but at its end, for whatever reads them', async t => {
    const { app } = givenApp(t, { logReader: givenUplinks([[[uplink('ann', 1, { payload: Buffer.from('a\u2028b\u2029c\u0085d') })]]]).log })
    const { body } = await app.inject({ url: '/v1/uplinks', headers: key })
    t.notMatch(body, /[\u2028\u2029\u0085]/)
    t.equal(JSON.parse(body).payload, 'a\u2028b\u2029c\u0085d')
  })

  t.test('end after `limit`, and go on behind it', async t => {
    const uplinks = givenUplinks([[[uplink('ann', 1), uplink('ann', 2), uplink('ann', 3)], [uplink('ann', 4)]]])
    const first = await readAll(t, uplinks, '?limit=2')
    t.strictSame(first.map(line => line.userSeq), [1, 2])
    const rest = await readAll(t, uplinks, `?limit=2&after=${first[1].cursor}`)
    t.strictSame(rest.map(line => line.userSeq), [3, 4])
    t.equal(uplinks.open(), 0)
    for (const limit of ['0', '-1', '1.5', 'many', '']) {
      const { app } = givenApp(t)
      t.match((await app.inject({ url: `/v1/uplinks?limit=${limit}`, headers: key })).json(), { code: 'bad-request' })
    }
  })

  t.test('after `now` are none but those to come', async t => {
    const uplinks = givenUplinks([[[uplink('ann', 1)]], [[uplink('bob', 1)], [uplink('bob', 2)]]], 4n)
    t.strictSame(await readAll(t, uplinks, '?after=now'), [])
    const { app } = givenApp(t, { logReader: uplinks.log })
    const url = await app.listen({ port: 0 })
    const response = await fetch(`${url}/v1/uplinks?after=now&follow=true&limit=1`, { headers: key })
    t.equal(response.headers.get('ledgerline-gap'), null)
    uplinks.add(1, [uplink('bob', 3)])
    t.match(JSON.parse(await response.text()), { userSeq: 3 })
  })

  t.test('of another service move the cursor too', async t => {
    const chat = { service: 'chat' }
    const uplinks = givenUplinks([[[uplink('ann', 1, chat)], [uplink('ann', 2), uplink('ann', 3)], [uplink('ann', 4, chat)]]])
    const lines = await readAll(t, uplinks, '?service=chat')
    const read: bigint[] = []
    const log: typeof uplinks.log = {
      ...uplinks.log,
      read (stream, partition, range) {
        read.push(range.from)
        return uplinks.log.read(stream, partition, range)
      },
    }
    await readAll(t, { log }, `?service=chat&after=${lines[1].cursor}`)
    t.strictSame(read, [3n])
  })

  t.test('say when some after the cursor are gone', async t => {
    const [line] = await readAll(t, givenUplinks([[[uplink('ann', 1)], [uplink('ann', 2)]]]))
    const later = givenUplinks([[[uplink('ann', 5)]]], 4n)
    const { app } = givenApp(t, { logReader: later.log })
    const gapped = await app.inject({ url: `/v1/uplinks?after=${line.cursor}`, headers: key })
    t.equal(gapped.headers['ledgerline-gap'], 'true')
    t.match(JSON.parse(gapped.body), { userSeq: 5 })
    const whole = await app.inject({ url: `/v1/uplinks?after=${JSON.parse(gapped.body).cursor}`, headers: key })
    t.equal(whole.headers['ledgerline-gap'], undefined)
  })

  t.test('of one block are written in pieces', async t => {
    const lines = Array.from({ length: 2_000 }, (_, i) => `${'x'.repeat(i % 100 === 0 ? 90_000 : 300)}\n`)
    const pieces = [...piecesOf(lines)]
    t.equal(pieces.join(''), lines.join(''))
    for (const piece of pieces) t.ok(piece.length <= 65_536 + 90_001 && piece.endsWith('\n'))
    t.ok(pieces.slice(0, -1).every(piece => piece.length >= 65_536), 'of some size, for each is a write')
    t.strictSame([...piecesOf([])], [])
  })

  t.test('come from partitions in turns, of which one at a time is being read and holds a block', async t => {
    const payload = Buffer.alloc(60_000, 'x')
    const users = Array.from({ length: 8 }, (_, partition) => `user-${partition}`)
    const uplinks = givenUplinks(users.map(userId =>
      Array.from({ length: 200 }, (_, i) => [uplink(userId, i + 1, { payload })])))
    const open: number[] = []
    const log: typeof uplinks.log = {
      ...uplinks.log,
      async * read (stream, partition, range) {
        for await (const block of uplinks.log.read(stream, partition, range)) {
          open.push(uplinks.open())
          yield block
        }
      },
    }
    const lines = await readAll(t, { log })
    t.equal(Math.max(...open), 1)
    for (const userId of users) {
      const seqs = lines.filter(line => line.userId === userId).map(line => line.userSeq)
      t.strictSame(seqs, seqs.map((_, i) => i + 1))
      t.equal(seqs.length, 200)
    }
    const first = new Set(lines.slice(0, 800).map(line => line.userId))
    t.equal(first.size, 8, 'each has a turn before any has a second')
  })

  const encode = (text: string) => Buffer.from(text).toString('base64url')
  for (const [name, after] of Object.entries({
    'that is no base64url': '***',
    'of another kind': encode('hello'),
    'of too few partitions': encode('u1:0.0'),
    'of too many partitions': encode('u1:0.0,0.0,0.0'),
    'with a negative offset': encode('u1:-1.0,0.0'),
    'with something behind it': `${encode('u1:0.0,0.0')}x`,
    'with padding': `${encode('u1:0.0,0.0')}==`,
    'ahead of the stream': encode('u1:2.0,0.0'),
    'ahead of the stream by an index': encode('u1:0.0,1.1'),
    'of 8193 characters': 'a'.repeat(8193),
  })) {
    t.test(`refuse a cursor ${name}`, async t => {
      const { app } = givenApp(t, { logReader: givenUplinks([[[uplink('ann', 1)]], [[uplink('bob', 1)]]]).log })
      const response = await app.inject({ url: `/v1/uplinks?after=${encodeURIComponent(after)}`, headers: key })
      t.match(response.json(), { statusCode: 400, code: 'bad-request' })
    })
  }

  t.test('refuse a follow that is neither true nor false', async t => {
    const { app } = givenApp(t)
    t.match((await app.inject({ url: '/v1/uplinks?follow=maybe', headers: key })).json(), { code: 'bad-request' })
  })
})

t.test('A follower', async t => {
  async function follow (t: Test, uplinks = givenUplinks([[], []])) {
    const { app } = givenApp(t, { logReader: uplinks.log })
    const url = await app.listen({ port: 0 })
    const request = get(`${url}/v1/uplinks?follow=true`, { headers: key })
    t.teardown(() => request.destroy())
    const [response] = await once(request, 'response') as [IncomingMessage]
    const lines = createInterface({ input: response })[Symbol.asyncIterator]()
    const next = async () => JSON.parse((await lines.next()).value)
    return { app, uplinks, url, response, request, lines, next }
  }

  t.test('is answered before there is anything to say', async t => {
    const { response } = await follow(t)
    t.equal(response.statusCode, 200)
    t.equal(response.headers['content-type'], 'application/x-ndjson')
  })

  t.test('gets uplinks as they are accepted, from every partition', async t => {
    const { uplinks, next } = await follow(t)
    uplinks.add(1, [uplink('bob', 1), uplink('bob', 2)])
    t.match([await next(), await next()], [{ userId: 'bob', userSeq: 1 }, { userId: 'bob', userSeq: 2 }])
    uplinks.add(0, [uplink('ann', 1)])
    t.match(await next(), { userId: 'ann', userSeq: 1 })
    uplinks.add(1, [uplink('bob', 3)])
    t.match(await next(), { userId: 'bob', userSeq: 3 })
  })

  t.test('that leaves ends the readers', async t => {
    const { uplinks, request } = await follow(t)
    t.equal(uplinks.open(), 2)
    request.destroy()
    while (uplinks.open() > 0) await sleep(1)
  })

  t.test('sees a clean end when the server closes', async t => {
    const { app, uplinks, response, lines, next } = await follow(t)
    uplinks.add(0, [uplink('ann', 1)])
    await next()
    const closed = app.close()
    t.equal((await lines.next()).done, true)
    t.equal(response.complete, true)
    await closed
    t.equal(uplinks.open(), 0)
  })

  t.test('that does not read holds the readers back', async t => {
    const payload = Buffer.alloc(65_536, 'a')
    const blocks = Array.from({ length: 2000 }, (_, i) => [uplink('ann', i + 1, { payload })])
    let yielded = 0
    const uplinks = givenUplinks([[]])
    const log: typeof uplinks.log = {
      ...uplinks.log,
      async * read (_stream, partition, { from }): AsyncGenerator<any> {
        for (let i = Number(from); i < blocks.length; i++) {
          yielded++
          yield { partition, offset: BigInt(i), items: blocks[i]! }
        }
      },
    }
    const { app } = givenApp(t, { logReader: log })
    const url = await app.listen({ port: 0 })
    const request = get(`${url}/v1/uplinks`, { headers: key })
    t.teardown(() => request.destroy())
    const [response] = await once(request, 'response') as [IncomingMessage]
    let before = -1
    while (yielded !== before) {
      before = yielded
      await sleep(100)
    }
    t.ok(yielded < 1000, `${yielded} of 2000 blocks were read ahead`)
    let bytes = 0
    for await (const chunk of response) bytes += chunk.length
    t.ok(bytes > 2000 * 65_536)
  })

  t.test('is refused as overloaded when there are 64', async t => {
    const { url, request } = await follow(t)
    const others = Array.from({ length: 63 }, () => get(`${url}/v1/uplinks?follow=true`, { headers: key }))
    t.teardown(() => others.forEach(each => each.destroy()))
    await Promise.all(others.map(each => once(each, 'response')))
    const refused = await fetch(`${url}/v1/uplinks`, { headers: key })
    t.match(await refused.json(), { statusCode: 503, code: 'overloaded' })
    request.destroy()
    while ((await fetch(`${url}/v1/uplinks`, { headers: key })).status !== 200) await sleep(1)
  })
})
