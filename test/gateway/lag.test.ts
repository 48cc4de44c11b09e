import t from 'tap'
import Fastify from 'fastify'
import { pino } from 'pino'
import { HealthRegistry } from '../../gateway/health.js'
import { errorSchema } from '../../gateway/http/errors.js'
import { lagRoutes } from '../../gateway/http/lag.js'
import { lagOf } from '../../gateway/lag.js'
import type { Stores } from '../../gateway/stores.js'
import { GatewayError } from '../../schemas/errors.js'

t.test('Who is behind', async t => {
  t.test('is told of the partitions that can be read, with why others can not', async t => {
    const bounds = async (_stream: unknown, partition: number) => {
      if (partition === 1) throw new GatewayError('ledger-unavailable', 'TOPIC_AUTHORIZATION_FAILED: grant READ')
      return { first: 0n, next: 5n }
    }
    const stores = {
      log: { partitions: () => 2, bounds, derivedFrom: async () => 4n },
      tables: { position: async () => ({ next: 5n }) },
      snapshots: { savedTo: async () => 5n },
      roomSnapshots: { savedTo: async () => 5n },
      groups: () => [],
      standing: () => [],
    } as unknown as Stores
    const [users] = await lagOf(stores)
    t.match(users, { follower: 'users', blocks: 0, unknown: 'TOPIC_AUTHORIZATION_FAILED: grant READ' })
    t.strictSame(users!.partitions.map(({ partition }) => partition), [0])
    t.strictSame(users!.standing, [{ partition: 1, reason: 'TOPIC_AUTHORIZATION_FAILED: grant READ' }])
  })

  t.test('is told of the partitions that stand still, with why, where it follows or writes them', async t => {
    const stores = {
      log: { partitions: () => 4, bounds: async () => ({ first: 0n, next: 5n }), derivedFrom: async () => 4n },
      tables: { position: async () => ({ next: 5n }) },
      snapshots: { savedTo: async () => 5n },
      roomSnapshots: { savedTo: async () => 5n },
      groups: () => [{ group: 'push', stream: { name: 'downlinks' }, partitions: new Map() }],
      standing: () => [
        { stream: 'ledger', partition: 2, group: 'users', reason: 'was cut back' },
        { stream: 'ledger', partition: 1, group: 'users', reason: 'has no leader' },
        { stream: 'ledger', partition: 3, group: 'projections', reason: 'may not be read' },
        { stream: 'ledger', partition: 3, group: undefined, reason: 'takes no appends' },
        { stream: 'uplinks', partition: 0, group: undefined, reason: 'is compacted' },
        { stream: 'rooms', partition: 2, group: undefined, reason: 'takes no posts' },
        { stream: 'posts', partition: 1, group: undefined, reason: 'is full' },
        { stream: 'connections', partition: 1, group: undefined, reason: 'may not be written' },
        { stream: 'downlinks', partition: 0, group: 'push', reason: 'has no leader' },
      ],
    } as unknown as Stores
    const told = (await lagOf(stores)).map(({ follower, standing }) =>
      [follower, ...standing.map(({ partition, reason }) => `${partition} ${reason}`)])
    t.strictSame(told, [
      ['users', '1 has no leader', '2 was cut back'],
      ['stream uplinks', '0 is compacted', '1 has no leader', '2 was cut back'],
      ...['presence', 'receipts', 'offline'].map(stream => [`stream ${stream}`, '1 has no leader', '2 was cut back']),
      ['rooms', '2 takes no posts'],
      ['stream posts', '1 is full'],
      ['presence', '3 may not be read'],
      ['routing', '3 may not be read'],
      ['connections', '1 may not be written'],
      ['nodes'],
      ['group push', '0 has no leader'],
    ])
  })

  t.test('is asked of the log once for all who follow it, and read once where they are at the same place', async t => {
    const asked = { bounds: 0, reads: 0, derived: 0 }
    const stores = {
      log: {
        partitions: ({ name }: { name: string }) => name === 'ledger' ? 128 : 1,
        bounds: async () => {
          asked.bounds++
          return { first: 0n, next: 9n }
        },
        derivedFrom: async () => {
          asked.derived++
          return 6n
        },
        async * read (_stream: unknown, partition: number, { from, to }: { from: bigint, to: bigint }) {
          asked.reads++
          for (let offset = from; offset < to; offset++) {
            yield { partition, offset, items: [{ atMs: Date.now() - 1_000 }, { atMs: Date.now() }] }
          }
        },
      },
      tables: { position: async () => ({ next: 7n }) },
      snapshots: { savedTo: async (partition: number) => partition < 100 ? 9n : 7n },
      roomSnapshots: { savedTo: async () => 9n },
      groups: () => [],
      standing: () => [],
    } as unknown as Stores
    const lags = await lagOf(stores, { lookMs: 60_000 })
    const [users, uplinks, presence] = ['users', 'stream uplinks', 'presence'].map(name =>
      lags.find(({ follower }) => follower === name))
    t.strictSame([users!.blocks, uplinks!.blocks, presence!.blocks], [2 * 28, 2 * 28, 2 * 128])
    t.ok(presence!.partitions.every(({ entries, ms }) => entries === 4 && ms! >= 1_000))
    t.strictSame(asked, { bounds: 130, reads: 129, derived: 4 * 28 }, 'where all is saved, all was derived')
  })

  t.test('hears in time of those who are behind, without what was not read by then', async t => {
    const began: number[] = []
    const stores = {
      log: {
        partitions: ({ name }: { name: string }) => name === 'ledger' ? 128 : 1,
        bounds: async () => ({ first: 0n, next: 1_000n }),
        derivedFrom: () => new Promise(() => {}),
        async * read (_stream: unknown, partition: number) {
          began.push(partition)
          if (partition % 2 === 0) await new Promise(() => {})
          yield { partition, offset: 0n, items: [{ atMs: 1 }] }
        },
      },
      tables: { position: async (_table: string, partition: number) => ({ next: BigInt(partition) }) },
      snapshots: { savedTo: async () => 1_000n },
      roomSnapshots: { savedTo: async () => 1_000n },
      groups: () => [],
      standing: () => [],
    } as unknown as Stores
    const answer = await lagOf(stores, { lookMs: 500 })
    const presence = answer.find(({ follower }) => follower === 'presence')!
    t.strictSame(presence.partitions.map(({ blocks }) => blocks), Array.from({ length: 128 }, (_, i) => 1_000 - i))
    t.equal(presence.partitions[0]!.ms, null)
    t.ok(presence.partitions[1]!.ms! > 0)
    t.ok(presence.ms > 0)
    t.ok(began.length < 128, 'and not all are begun')
    t.equal(answer.find(({ follower }) => follower === 'users')!.blocks, 0)
  })

  t.test('comes with the troubles of streams, and no others', async t => {
    const health = new HealthRegistry(pino({ enabled: false }))
    t.teardown(() => health.stop())
    health.begin('refused', 'test.ledger/0: TOPIC_AUTHORIZATION_FAILED: grant WRITE', 'test.ledger/0')
    health.begin('cut-back', 'test.ledger/1 was cut back', 'test.users.ledger, partition 1')
    health.begin('memory', 'short')
    const app = Fastify()
    t.teardown(() => app.close())
    app.addSchema(errorSchema)
    app.register(lagRoutes, { lag: async () => [], health: () => health.answer() })
    const { followers, troubles } = (await app.inject('/v1/lag')).json()
    t.strictSame(followers, [])
    t.match(troubles, [
      { condition: 'refused', reason: /grant WRITE/, heals: /A person/ }, { condition: 'cut-back', heals: /A person/ },
    ])
    t.equal(troubles.length, 2)
  })
})
