import { get } from 'node:http'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { type App, Apps } from '../../../gateway/apps.js'
import { publicStreams } from '../../../gateway/streams/public.js'
import type { UplinkAccepted } from '../../../schemas/records.js'
import { partitionOf } from '../../../schemas/partitioning.js'
import { userKey } from '../../../schemas/apps.js'
import { nodeFacts } from '../../schemas/stream-samples.js'
import { givenApp, givenUplinks, key, uplink } from './given.js'

const userId = userKey('shop', 'ann')
const connection = { userId: 'ann', connectionId: 'c1', transport: 'ws', openedAtMs: 1, closedAtMs: 2, code: 'disconnected' }

/** Records of each stream, of the app that has no name. */
const samplesOf: Record<string, unknown[]> = {
  uplinks: [uplink('ann', 1), uplink('ann', 2, { payload: Buffer.of(0xff), roomId: 'lobby' })],
  connections: [connection, { ...connection, connectionId: 'c2' }],
  posts: [
    { roomId: 'lobby', roomSeq: 1, messageId: 'ann/1', from: 'ann', service: '', payload: Buffer.from('hi'), postedAtMs: 3 },
    { roomId: 'lobby', roomSeq: 2, messageId: 'm2', from: '', service: '', payload: Buffer.from('ho'), postedAtMs: 4 },
  ],
  'downlinks.rejected': [
    { userId: 'ann', command: Buffer.of(0xff), code: 'bad-request', reason: 'ttlMs', rejectedAtMs: 5 },
    { userId: '', command: Buffer.from('x'), code: 'bad-record', reason: 'truncated', rejectedAtMs: 6 },
  ],
  presence: ['online', 'offline'].map((change, i) => ({
    userId: 'ann',
    presenceSeq: i + 1,
    deviceId: 'phone',
    platform: 'ios',
    connectionId: 'c1',
    change,
    userChanged: true,
    cause: i === 0 ? 'connected' : 'disconnected',
    atMs: 7,
  })),
  receipts: [1, 2].map(receiptSeq => ({
    userId: 'ann',
    receiptSeq,
    messageId: `m${receiptSeq}`,
    service: 'chat',
    deviceId: 'phone',
    seq: receiptSeq,
    outcome: 'acked',
    reason: '',
    requestedAtMs: 8,
    settledAtMs: 9,
  })),
  offline: ['due', 'withdrawn'].map((change, i) => ({
    userId: 'ann',
    offlineSeq: i + 1,
    change,
    messageId: 'm1',
    service: 'chat',
    payload: i === 0 ? Buffer.from('hi') : Buffer.of(),
    deviceIds: ['phone'],
    reason: i === 0 ? '' : 'acked',
    requestedAtMs: 8,
    expiresAtMs: 80,
    atMs: 10,
  })),
  nodes: [
    ...nodeFacts.map(fact => ({ nodeId: 'n1', epoch: 1, atMs: 2, fact })),
    {
      nodeId: 'n1',
      epoch: 1,
      atMs: 2,
      fact: { type: 'NodeDrainReported', moves: [{ userId, deviceId: 'phone' }] },
    },
  ],
}

const linesOf = (body: string) => body.split('\n').filter(line => line !== '').map(line => JSON.parse(line))

async function read (t: Test, log: ReturnType<typeof givenUplinks>['log'], path: string, headers = {}) {
  const { app } = givenApp(t, { logReader: log })
  const response = await app.inject({ url: `/v1/streams/${path}`, headers: { ...key, ...headers } })
  return { response, lines: response.statusCode === 200 ? linesOf(response.body) : [] }
}

t.test('A stream', async t => {
  t.test('has the lines of /v1/uplinks under its own name as well', async t => {
    const { log } = givenUplinks([[[uplink('ann', 1)], [uplink('ann', 2)]]])
    const { app } = givenApp(t, { logReader: log })
    const answers = await Promise.all(['/v1/uplinks', '/v1/streams/uplinks'].map(url => app.inject({ url, headers: key })))
    t.equal(answers[0]!.body, answers[1]!.body)
    t.equal(linesOf(answers[1]!.body).length, 2)
  })

  for (const { stream } of publicStreams) {
    const samples = samplesOf[stream.name]!
    t.test(`${stream.name} tells each field of a record, a key in parts, and goes on after a line`, async t => {
      const { log } = givenUplinks([[samples as UplinkAccepted[]]])
      const { lines } = await read(t, log, stream.name)
      t.equal(lines.length, samples.length)
      for (const [i, line] of lines.entries()) {
        for (const name of Object.keys(samples[i] as object)) t.ok(name in line, `${name} is told`)
        t.notMatch(JSON.stringify(line), /\\u001f/, 'no key as it is within')
      }
      const rest = await read(t, log, `${stream.name}?after=${lines[0].cursor}`)
      t.strictSame(rest.lines, lines.slice(1))
    })
  }

  t.test('takes no cursor of another one', async t => {
    const { log } = givenUplinks([[[uplink('ann', 1)]]])
    const { lines: [line] } = await read(t, log, 'uplinks')
    const { response } = await read(t, log, `connections?after=${line.cursor}`)
    t.match(response.json(), { code: 'bad-request', message: /connections/ })
  })

  t.test('that there is not is not found, with those that there are', async t => {
    for (const name of ['ledger', 'rooms', 'states']) {
      t.match((await read(t, givenUplinks([[]]).log, name)).response.json(), { code: 'not-found', message: /uplinks, connections/ })
    }
  })

  t.test('is read by users, whose partitions alone are read', async t => {
    const users = ['ann', 'bob', 'cid', 'dan', 'eve', 'fay']
    const partitions = Array.from({ length: 4 }, (_, partition) =>
      [users.filter(user => partitionOf(user, 4) === partition).map(user => uplink(user, 1))])
    const asked: Array<[number, string | undefined]> = []
    const given = givenUplinks(partitions)
    const log: typeof given.log = {
      ...given.log,
      read (stream, partition, range) {
        asked.push([partition, range.key])
        return given.log.read(stream, partition, range)
      },
    }
    t.strictSame((await read(t, log, 'uplinks?users=ann')).lines.map(line => line.userId), ['ann'])
    t.strictSame(asked.splice(0), [[partitionOf('ann', 4), 'ann']])
    const { lines } = await read(t, log, 'uplinks?users=ann&users=bob')
    t.strictSame(lines.map(line => line.userId).sort(), ['ann', 'bob'])
    t.ok(asked.every(([, key]) => key === undefined))
    t.equal(asked.length, new Set(['ann', 'bob'].map(user => partitionOf(user, 4))).size)
  })

  t.test('is read by room and by service where its records have them', async t => {
    const { log } = givenUplinks([[[
      uplink('ann', 1, { roomId: 'lobby', service: 'chat' }), uplink('ann', 2, { service: 'chat' }), uplink('ann', 3),
    ]]])
    t.match((await read(t, log, 'uplinks?room=lobby')).lines, [{ userSeq: 1 }])
    t.match((await read(t, log, 'uplinks?service=chat')).lines, [{ userSeq: 1 }, { userSeq: 2 }])
    t.match((await read(t, log, 'uplinks?service=')).lines, [{ userSeq: 3 }])
    t.match((await read(t, log, 'connections?service=chat')).response.json(), { code: 'bad-request', message: /connections have none/ })
    t.match((await read(t, log, 'nodes?users=ann')).response.json(), { code: 'bad-request' })
  })

  t.test('of several apps tells of one, which it names', async t => {
    const { log } = givenUplinks([[[uplink('ann', 1), uplink(userKey('shop', 'ann'), 2)]]])
    t.match((await read(t, log, 'uplinks')).lines, [{ app: undefined, userId: 'ann', userSeq: 1 }])
    const { app } = givenApp(t, { logReader: log, apps: new Apps([{ name: 'shop' } as App]) })
    const { body } = await app.inject({ url: '/v1/streams/uplinks?app=shop&users=ann', headers: key })
    t.match(linesOf(body), [{ app: 'shop', userId: 'ann', userSeq: 2 }])
  })

  t.test('that is long, and of which nothing is wanted, is read no further once its reader has gone', async t => {
    let reads = 0
    const { log } = givenUplinks([[]])
    const endless: typeof log = {
      ...log,
      bounds: async () => ({ first: 0n, next: 1_000_000n }),
      async * read (_stream, partition, { signal }): AsyncGenerator<any> {
        while (!signal?.aborted) {
          reads++
          await new Promise(resolve => { setImmediate(resolve) })
          if (reads % 1_000 === 0) yield { partition, offset: BigInt(reads), items: [uplink('bob', reads)] }
        }
      },
    }
    const { app } = givenApp(t, { logReader: endless })
    const url = await app.listen({ port: 0 })
    const request = get(`${url}/v1/streams/uplinks?users=ann`, { headers: key })
    request.on('error', () => {})
    await once(request, 'response')
    request.destroy()
    for (let before = -1; reads !== before;) {
      before = reads
      await new Promise(resolve => { setTimeout(resolve, 50) })
    }
    t.ok(reads < 900_000)
  })
})

t.test('Server-sent events', async t => {
  const accept = { accept: 'text/event-stream' }

  t.test('have the line as data and its cursor as id, after the time to come back in', async t => {
    const { log } = givenUplinks([[[uplink('ann', 1)], [uplink('ann', 2)]]])
    const { lines } = await read(t, log, 'uplinks')
    const { app } = givenApp(t, { logReader: log })
    const { body, headers } = await app.inject({ url: '/v1/streams/uplinks?follow=false', headers: { ...key, ...accept } })
    t.equal(body, `retry: 2000\n\n${lines.map(line => `id: ${line.cursor}\ndata: ${JSON.stringify(line)}\n\n`).join('')}`)
    t.match(headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  })

  t.test('go on after Last-Event-ID, whatever the query says', async t => {
    const { log } = givenUplinks([[[uplink('ann', 1)], [uplink('ann', 2)]]])
    const { lines: [first] } = await read(t, log, 'uplinks')
    const { app } = givenApp(t, { logReader: log })
    const { body } = await app.inject({
      url: '/v1/streams/uplinks?follow=false&after=now', headers: { ...key, ...accept, 'last-event-id': first.cursor },
    })
    t.match(body, /"userSeq":2/)
    t.notMatch(body, /"userSeq":1/)
  })

  t.test('begin with the id alone where they are asked for from now on', async t => {
    const { log } = givenUplinks([[[uplink('ann', 1)]]])
    const { lines: [{ cursor }] } = await read(t, log, 'uplinks')
    const { app } = givenApp(t, { logReader: log })
    const now = async (path: string, headers = {}) =>
      (await app.inject({ url: `${path}?follow=false&after=now`, headers: { ...key, ...headers } })).body
    t.equal(await now('/v1/streams/uplinks', accept), `retry: 2000\n\nid: ${cursor}\n\n`)
    t.equal(await now('/v1/streams/uplinks'), `${JSON.stringify({ cursor })}\n`, 'as a line of NDJSON')
    t.equal(await now('/v1/uplinks'), '', 'but not under the older name, whose readers do not know of it')
  })

  t.test('follow unless they are not to, and have a comment where they are silent', async t => {
    const { log, add } = givenUplinks([[]])
    const { app } = givenApp(t, { logReader: log, silentMs: 20 })
    const url = await app.listen({ port: 0 })
    const request = get(`${url}/v1/streams/uplinks`, { headers: { ...key, ...accept } })
    t.teardown(() => request.destroy())
    const [response] = await once(request, 'response') as [IncomingMessage]
    let text = ''
    response.setEncoding('utf8').on('data', chunk => { text += chunk })
    while (!text.includes('\n\n:\n')) await once(response, 'data')
    add(0, [uplink('ann', 1)])
    while (!text.includes('"userSeq":1')) await once(response, 'data')
    t.match(text, /^retry: 2000\n\n(:\n)+id: /)
  })

  t.test('tell of a hole as an event of that name', async t => {
    const { log } = givenUplinks([[[uplink('ann', 1)]]], 4n)
    const holed: typeof log = {
      ...log,
      read (stream, partition, range) {
        range.passed?.({ from: 0n, to: 4n })
        return log.read(stream, partition, range)
      },
    }
    const { app } = givenApp(t, { logReader: holed })
    const { body } = await app.inject({ url: '/v1/streams/uplinks?follow=false', headers: { ...key, ...accept } })
    t.match(body, /\n\nid: [\w-]+\nevent: hole\ndata: \{"cursor":"[\w-]+","hole":\{"partition":0,"from":"0","to":"4"\}\}\n\n/)
  })
})

t.test('A reader whose place is still looked up as the node stops is refused, and does not keep it from stopping', async t => {
  const { log } = givenUplinks([[]])
  let looks = () => {}
  const isLooking = new Promise<void>(resolve => { looks = resolve })
  let answer = () => {}
  const answered = new Promise<void>(resolve => { answer = resolve })
  const slow: typeof log = {
    ...log,
    async bounds (stream, partition) {
      looks()
      await answered
      return await log.bounds(stream, partition)
    },
  }
  const { app } = givenApp(t, { logReader: slow })
  const url = await app.listen({ port: 0 })
  const request = get(`${url}/v1/streams/uplinks?follow=true`, { headers: key })
  const response = once(request, 'response') as Promise<[IncomingMessage]>
  await isLooking
  const closing = Promise.resolve(app.close())
  const isOver = (async () => {
    const [{ statusCode }] = await response
    if (statusCode !== 503) request.destroy()
    await closing
    return statusCode
  })()
  setTimeout(answer, 50)
  t.equal(await isOver, 503)
})
