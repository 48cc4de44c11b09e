import t from 'tap'
import { Audits, type AuditEvent } from '../../../gateway/audits.js'
import type { LogReader } from '../../../ledger/log.js'
import { startTestNode, type TestNode, until } from '../node.js'
import { ackedUpTo, connected, uplinks } from '../edge/dialects.js'

const idle = { heapBytes: 1, heapBytesMax: 10, residentBytes: 1, residentBytesMax: 10 }

async function asked (node: TestNode, body: object): Promise<AuditEvent[]> {
  const { status, text } = await node.request('POST', '/v1/audits', body)
  if (status !== 200) throw new Error(text)
  return text.split('\n').filter(line => line !== '').map(line => JSON.parse(line) as AuditEvent)
}

t.test('POST /v1/audits', async t => {
  const node = await startTestNode(t)
  const { client } = await connected(t, node, 'TCP', 'ann', {}, uplinks(1, 20))
  await ackedUpTo(client, 20)
  await node.push('ann', 'hello')
  client.destroy()
  await until('the end is in the books', async () => (await asked(node, {})).some(event =>
    event.type === 'done' && event.books.connections.recorded === 1))

  await t.test('balances the books of a gateway that goes on', async t => {
    const events = await asked(node, {})
    t.equal(events[0]!.type, 'started')
    const last = events.at(-1)!
    t.match(last, { type: 'done', books: { users: 1, downlinks: { requested: 1 }, uplinks: { accepted: 20, published: 20 } } })
    t.strictSame(last.type === 'done' && last.books.violations, {})
  })

  await t.test('judges what came from a time on', async t => {
    const last = (await asked(node, { since: '1h' })).at(-1)!
    t.match(last, { type: 'done', books: { uplinks: { accepted: 20 } } })
    const { status, json } = await node.request('POST', '/v1/audits', { since: 'tomorrow' })
    t.match([status, json], [400, { code: 'bad-request', message: /body\/since/ }])
  })
})

t.test('An audit of a node', async t => {
  /** A log whose one block can't be taken until the test says so. */
  const given = (memory = idle) => {
    let release = () => {}
    const held = new Promise<void>(resolve => { release = resolve })
    const log = {
      partitions: () => 1,
      bounds: async () => ({ first: 0n, next: 2n }),
      offsetAt: async () => 0n,
      async * read () {
        await held
        for (let offset = 0n; offset < 2n; offset++) {
          for (const untilMs = performance.now() + 5; performance.now() < untilMs;);
          yield { partition: 0, offset, atMs: 0, items: [] }
        }
      },
    } as unknown as LogReader
    const stopped: boolean[] = []
    const audits = new Audits({
      log, exact: true, memory: () => ({ use: () => memory, stop () { stopped.push(true) } }), failed: () => {},
    })
    return { audits, stopped, go: () => { release() } }
  }
  const all = async (events: AsyncIterable<AuditEvent>) => {
    const told: AuditEvent[] = []
    for await (const event of events) told.push(event)
    return told
  }

  t.test('is one at a time', async t => {
    const { audits, go } = given()
    const first = audits.start(undefined, new AbortController().signal)
    t.throws(() => audits.start(undefined, new AbortController().signal), { code: 'not-ready' })
    go()
    await all(first)
    t.doesNotThrow(() => audits.start(undefined, new AbortController().signal), 'the next one may begin')
  })

  t.test('ends where its caller leaves, and where memory becomes short', async t => {
    for (const [memory, code] of [[idle, 'internal'], [{ ...idle, heapBytes: 8 }, 'overloaded']] as const) {
      const { audits, stopped, go } = given(memory)
      const leaving = new AbortController()
      const events = audits.start(undefined, leaving.signal)
      if (code === 'internal') leaving.abort(new Error('left'))
      go()
      t.match((await all(events)).at(-1), { type: 'failed', code })
      t.strictSame(stopped, [true], 'and looks at memory no more')
    }
  })
})
