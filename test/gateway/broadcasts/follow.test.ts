import t, { type Test } from 'tap'
import { Broadcasts } from '../../../gateway/broadcasts/broadcasts.js'
import type { EventLog, ReadRange } from '../../../ledger/log.js'
import type { NodeEntry, NodeFact } from '../../../schemas/node-facts.js'
import { until } from '../node.js'

/** A log that can be away, and be cut back. */
async function given (t: Test, entries: NodeEntry[] = []) {
  let isAway = false
  const log = {
    partitions: () => 1,
    bounds: async () => ({ first: 0n, next: BigInt(entries.length) }),
    offsetAt: async () => 0n,
    async append (_stream: unknown, _partition: number, items: NodeEntry[]) {
      entries.push(...items)
      return { partition: 0, offset: BigInt(entries.length - 1), index: 0 }
    },
    async * read (_stream: unknown, _partition: number, { from, to, signal }: ReadRange) {
      for (let at = Number(from); ;) {
        if (signal?.aborted || (to !== undefined && BigInt(at) >= to)) return
        if (isAway && to === undefined) throw new Error('the broker is away')
        if (at < entries.length) yield { partition: 0, offset: BigInt(at), items: [entries[at++]!] }
        else await new Promise(resolve => setTimeout(resolve, 5))
      }
    },
  } as unknown as EventLog
  const orders: string[] = []
  const lasting = new Set<string>()
  const broadcasts = new Broadcasts({
    log,
    identity: { nodeId: 'n1', epoch: 1 } as never,
    nodeTable: { rows: async () => ({ rows: [] }) } as never,
    edge: { take (order) { orders.push(order.type === 'begin' ? `begin ${order.broadcast.key}` : `cancel ${order.key}`) } },
    health: { begin: name => { lasting.add(name) }, end: name => { lasting.delete(name) } },
  })
  await broadcasts.start()
  t.teardown(() => broadcasts.stop())
  const tell = (fact: NodeFact) => { entries.push({ nodeId: 'n2', epoch: 1, atMs: Date.now(), fact }) }
  return {
    broadcasts,
    entries,
    orders,
    request (messageId: string) {
      const rest = { service: '', payload: Buffer.from('x'), platforms: [], regions: [], perSecond: 1, ttlMs: 600_000, by: '' }
      tell({ type: 'BroadcastRequested', app: '', messageId, ...rest })
    },
    cancel (messageId: string) { tell({ type: 'BroadcastCancelled', app: '', messageId, reason: '', by: '' }) },
    async away (meanwhile: () => void) {
      isAway = true
      await until('the read has failed', () => lasting.has('followers'))
      meanwhile()
      isAway = false
    },
  }
}

t.test('A node that can not read the stream nodes for a while', async t => {
  await t.test('carries out afterwards what came meanwhile, once', async t => {
    const { orders, request, cancel, away } = await given(t)
    request('one')
    await until('it begins', () => orders.length === 1)
    await away(() => {
      cancel('one')
      request('two')
    })
    await until('it goes on', () => orders.length >= 3)
    request('three')
    await until('it goes on', () => orders.length >= 4)
    t.strictSame(orders, ['begin one', 'cancel one', 'begin two', 'begin three'])
  })

  await t.test('begins at the end of one that was cut back, and ends what was cancelled', async t => {
    const { orders, request, cancel, away, entries } = await given(t)
    for (const id of ['one', 'two', 'three']) request(id)
    await until('they begin', () => orders.length === 3)
    await away(() => {
      entries.length = 0
      cancel('one')
    })
    await until('it goes on', () => orders.length >= 4)
    request('four')
    await until('it goes on', () => orders.length >= 5)
    t.strictSame(orders.slice(3), ['cancel one', 'begin four'])
  })
})

t.test('A node that is asked for broadcasts by several apps', async t => {
  await t.test('lets each have one where others have all', async t => {
    const { broadcasts } = await given(t)
    const ask = async (app: string, messageId: string) => {
      const rest = { service: '', payload: Buffer.from('x'), platforms: [], regions: [], perSecond: 1, ttlMs: 600_000, by: '' }
      return await broadcasts.request({ app, messageId, ...rest }).then(({ status }) => status, ({ code }) => code)
    }
    const asked = await Promise.all(['a', 'b', 'c', 'd'].flatMap(app => Array.from({ length: 9 }, (_, i) => ask(app, `m${i}`))))
    t.equal(asked.filter(status => status === 'queued').length, 32)
    t.strictSame([8, 17, 26, 35].map(i => asked[i]), Array.from({ length: 4 }, () => 'overloaded'))
  })
})
