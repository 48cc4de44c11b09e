import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { embeddedLog } from '../../../ledger/embedded/log.js'
import { openStore } from '../../../ledger/embedded/store.js'
import { note, noteStream, until } from '../../ledger/log-contract.js'
import { givenApp, key as headers } from './given.js'

async function givenLog (t: Test) {
  const stream = { ...noteStream(), name: 'notes' }
  const store = await openStore({ directory: t.testdir(), commits: 'sync', headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions: 2 })
  return { stream, log, app: givenApp(t, { logReader: log, streams: [stream] }).app }
}

t.test('GET /v1/log', async t => {
  const { app } = await givenLog(t)
  const { json } = await app.inject({ url: '/v1/log', headers })
  t.strictSame(json(), { streams: [{ stream: 'notes', partitions: 2 }] }, 'names the streams')
})

t.test('GET /v1/log/:stream', async t => {
  const { app, log, stream } = await givenLog(t)
  await log.append(stream, 1, [note('one')])
  const url = '/v1/log/notes'
  const kept = [{ first: '0', next: '0' }, { first: '0', next: '1' }]
  t.strictSame((await app.inject({ url, headers })).json(), { stream: 'notes', partitions: kept }, 'has its bounds')
  t.strictSame((await app.inject({ url: `${url}?atMs=1`, headers })).json().partitions.map((p: any) => p.offset), ['0', '0'],
    'has the offsets of a time')
})

t.test('GET /v1/log/:stream/:partition', async t => {
  await t.test('answers with blocks as they are stored, each behind its length and offset', async t => {
    const { app, log, stream } = await givenLog(t)
    for (const text of ['a', 'b', 'c']) await log.append(stream, 0, [note(text)])
    const { rawPayload, headers: answered } = await app.inject({ url: '/v1/log/notes/0?from=1&to=2', headers })
    const body = '[{"userId":"ada","text":"b"}]'
    t.equal(rawPayload.toString('hex'), `0000001d0000000000000001${Buffer.from(body).toString('hex')}`)
    t.match(answered, { 'content-type': 'application/octet-stream', 'ledgerline-to': '2' })
    t.equal((await app.inject({ url: '/v1/log/notes/0?to=99', headers })).headers['ledgerline-to'], '3')
  })

  await t.test('answers readers at the same time, each with its own blocks, however large', async t => {
    const { app, log, stream } = await givenLog(t)
    const texts = [['a', 'b'.repeat(400_000), 'c'.repeat(150_000)], ['d'.repeat(200_000), 'e', 'f'.repeat(300_000)]]
    for (const [partition, blocks] of texts.entries()) {
      for (const text of blocks) await log.append(stream, partition, [note(text)])
    }
    const wanted = texts.map(blocks => Buffer.concat(blocks.map((text, offset) => {
      const header = Buffer.alloc(12)
      const body = Buffer.from(JSON.stringify([note(text)]))
      header.writeUInt32BE(body.length)
      header.writeUInt32BE(offset, 8)
      return Buffer.concat([header, body])
    })))
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const read = async (partition: number) =>
      Buffer.from(await (await fetch(`${url}/v1/log/notes/${partition}`, { headers })).arrayBuffer())
    const partitions = [0, 1, 0, 1, 1, 0]
    for (const round of ['first', 'second']) {
      const answers = await Promise.all(partitions.map(read))
      t.ok(answers.every((answer, i) => answer.equals(wanted[partitions[i]!]!)), `the ${round} time`)
    }
  })

  for (const [path, status, code] of [
    ['/v1/log/other/0', 404, 'not-found'],
    ['/v1/log/notes/2', 404, 'not-found'],
    ['/v1/log/other', 404, 'not-found'],
    ['/v1/log/notes/0?from=-1', 400, 'bad-request'],
    ['/v1/log/notes/0?to=x', 400, 'bad-request'],
    ['/v1/log/notes/0?since=1', 400, 'bad-request'],
    ['/v1/log/notes/x', 400, 'bad-request'],
    ['/v1/log/notes?atMs=x', 400, 'bad-request'],
    [`/v1/log/notes/0?key=${'x'.repeat(257)}`, 400, 'bad-request'],
  ] as const) {
    await t.test(`refuses ${path.slice(0, 40)} with ${code}`, async t => {
      const { app } = await givenLog(t)
      const answer = await app.inject({ url: path, headers })
      t.equal(answer.statusCode, status)
      t.equal(answer.json().code, code)
    })
  }

  await t.test('wants an API key', async t => {
    const { app } = await givenLog(t)
    for (const url of ['/v1/log', '/v1/log/notes', '/v1/log/notes/0']) t.equal((await app.inject({ url })).statusCode, 401)
  })

  await t.test('reads on only as its reader takes, and refuses more readers than its bound', async t => {
    const { app, log, stream } = await givenLog(t)
    for (let i = 0; i < 300; i++) await log.append(stream, 0, [note('x'.repeat(100_000))])
    let taken = 0
    const readFrames = log.readFrames.bind(log)
    log.readFrames = async function * (...args) {
      for await (const chunk of readFrames(...args)) {
        taken++
        yield chunk
      }
    }
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const open = async () => (await once(get(`${url}/v1/log/notes/0`, { headers, agent: false }), 'response'))[0] as IncomingMessage
    const slow = await open()
    let before = -1
    for (; before !== taken; await sleep(100)) before = taken
    t.ok(taken > 0 && taken < 150, `${taken} of 300 blocks`)
    const others = await Promise.all(Array.from({ length: 7 }, open))
    t.ok(others.every(({ statusCode }) => statusCode === 200))
    const refused = await open()
    t.equal(refused.statusCode, 503)
    refused.resume()
    for (const response of [slow, ...others]) response.destroy()
    await until(() => taken > 0)
    let status = 0
    for (let i = 0; i < 2_000 && status !== 200; i++, await sleep(20)) {
      const again = await open()
      status = again.statusCode!
      again.destroy()
    }
    t.equal(status, 200, 'until one has gone')
  })
})
