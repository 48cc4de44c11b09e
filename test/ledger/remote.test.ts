import type { IncomingMessage } from 'node:http'
import { get as httpGet } from 'node:http'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { openRemoteLog } from '../../ledger/remote.js'
import { givenApp, key as headers } from '../gateway/http/given.js'
import { collect, note, notes, noteStream, until } from './log-contract.js'

/** A log behind a gateway's HTTP side, and what was asked of it. */
async function givenRemote (t: Test) {
  const stream = noteStream()
  const store = await openStore({ directory: t.testdir(), commits: 'sync', headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const log = embeddedLog(store, { partitions: 4 })
  const { app } = givenApp(t, { logReader: log, streams: [stream] })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const asked: string[] = []
  const damages: unknown[] = []
  /** Bytes after which each of the next answers is cut. */
  const cuts: number[] = []
  async function get (path: string, signal: AbortSignal): Promise<IncomingMessage> {
    asked.push(path)
    const [response] = await once(httpGet(url + path, { headers, signal }), 'response') as [IncomingMessage]
    if (response.statusCode !== 200) throw new Error(`HTTP ${response.statusCode}`)
    const cut = path.includes('?from=') ? cuts.shift() : undefined
    if (cut !== undefined) response.socket.on('data', () => { if (response.socket.bytesRead > cut) response.socket.destroy() })
    return response
  }
  const remote = await openRemoteLog({ get, onDamage: damage => damages.push(damage) })
  t.teardown(() => remote.close())
  return { stream, log, remote, asked, cuts, damages }
}

t.test('a log over HTTP', async t => {
  await t.test('has the partitions, bounds and times of the log behind it', async t => {
    const { stream, log, remote } = await givenRemote(t)
    await log.append(stream, 2, [note('early')])
    await sleep(5)
    const atMs = Date.now()
    await log.append(stream, 2, [note('late')])
    t.equal(remote.partitions(stream), 4)
    t.strictSame(await remote.bounds(stream, 2), { first: 0n, next: 2n })
    t.equal(await remote.offsetAt(stream, 2, atMs), 1n)
    t.equal(await remote.offsetAt(stream, 2, 0.5), 0n)
    t.equal(await remote.offsetAt(stream, 3, atMs), 0n)
    t.throws(() => remote.partitions(noteStream()), { name: 'RangeError' })
    await t.rejects(remote.bounds(stream, 4), { name: 'RangeError' })
  })

  await t.test('gives the same blocks, in the same range', async t => {
    const { stream, log, remote } = await givenRemote(t)
    for (let i = 0; i < 50; i++) await log.append(stream, 0, notes(20, `${i}-`))
    const blocks = async (from: typeof log.read) => {
      const found = []
      for await (const block of from(stream, 0, { from: 3n, to: 40n })) found.push(block)
      return found
    }
    t.strictSame(await blocks(remote.read.bind(remote)), await blocks(log.read.bind(log)))
    t.strictSame(await collect(remote.read(stream, 0, { from: 50n })), [])
  })

  await t.test('leaves out blocks without the key', async t => {
    const { stream, log, remote } = await givenRemote(t)
    for (let i = 0; i < 40; i++) await log.append(stream, 0, [note(`${i}`, `user-${i}.`)])
    t.strictSame(await collect(remote.read(stream, 0, { from: 0n, key: 'user-7.' })), ['7'])
  })

  await t.test('ends at the end as it was at the call', async t => {
    const { stream, log, remote, asked, cuts } = await givenRemote(t)
    const long = 'x'.repeat(100_000)
    for (const text of ['a', 'b', 'c']) await log.append(stream, 0, [note(text + long)])
    cuts.push(150_000)
    const texts: string[] = []
    for await (const { items } of remote.read(stream, 0, { from: 0n })) {
      texts.push(...items.map(({ text }) => text[0]!))
      await log.append(stream, 0, [note('later')])
    }
    t.strictSame(texts, ['a', 'b', 'c'], 'also when it is asked again later')
    t.equal(asked.filter(path => path.includes('?from=')).length, 2)
  })

  await t.test('goes on where it was when its connection is cut, again and again', async t => {
    const { stream, log, remote, asked, cuts } = await givenRemote(t)
    const long = 'x'.repeat(10_000)
    for (let i = 0; i < 100; i++) await log.append(stream, 0, [note(`${i} ${long}`)])
    cuts.push(100_000, 150_000, 200_000)
    const texts = await collect(remote.read(stream, 0, { from: 0n }))
    t.strictSame(texts.map(text => Number.parseInt(text)), Array.from({ length: 100 }, (_, i) => i))
    t.equal(asked.filter(path => path.includes('?from=')).length, 4)
  })

  await t.test('fails in words where it gets no further', async t => {
    const { stream, log, remote, cuts } = await givenRemote(t)
    await log.append(stream, 0, [note('x'.repeat(1_000_000))])
    cuts.push(...Array.from({ length: 10 }, () => 100_000))
    await t.rejects(collect(remote.read(stream, 0, { from: 0n })),
      { code: 'ledger-unavailable', message: /broke off 6 times at 0@0 of notes/ })
  })

  await t.test('fails at once where it is refused', async t => {
    const { stream, remote } = await givenRemote(t)
    await t.rejects(collect(remote.read(stream, 9, { from: 0n })), { message: 'HTTP 404' })
  })

  await t.test('goes on with what arrives while it has a signal', async t => {
    const { stream, log, remote } = await givenRemote(t)
    const abort = new AbortController()
    const texts: string[] = []
    const reading = (async () => {
      for await (const { items } of remote.read(stream, 0, { from: 0n, signal: abort.signal })) {
        texts.push(...items.map(({ text }) => text))
      }
    })()
    for (const text of ['a', 'b']) {
      await log.append(stream, 0, [note(text)])
      await until(() => texts.at(-1) === text)
    }
    abort.abort()
    await reading
    t.strictSame(texts, ['a', 'b'])
  })

  await t.test('skips what can not be decoded, and tells of it', async t => {
    const { stream, log, remote, damages } = await givenRemote(t)
    for (const text of ['before', 'poison', 'after']) await log.append(stream, 0, [note(text)])
    const decodeBlock = (bytes: Uint8Array) => {
      if (Buffer.from(bytes).includes('poison')) throw new Error('not a note')
      return stream.decodeBlock(bytes)
    }
    t.strictSame(await collect(remote.read({ ...stream, decodeBlock }, 0, { from: 0n })), ['before', 'after'])
    t.strictSame(damages, [{ stream: stream.name, partition: 0, offset: 1n, reason: 'not a note' }])
  })
})
