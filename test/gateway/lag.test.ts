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
      groups: () => [{ group: 'push', stream: { name: 'downlinks' }, partitions: new Map() }],
      standing: () => [
        { stream: 'ledger', partition: 2, group: 'users', reason: 'was cut back' },
        { stream: 'ledger', partition: 1, group: 'users', reason: 'has no leader' },
        { stream: 'ledger', partition: 3, group: 'projections', reason: 'may not be read' },
        { stream: 'ledger', partition: 3, group: undefined, reason: 'takes no appends' },
        { stream: 'uplinks', partition: 0, group: undefined, reason: 'is compacted' },
        { stream: 'connections', partition: 1, group: undefined, reason: 'may not be written' },
        { stream: 'downlinks', partition: 0, group: 'push', reason: 'has no leader' },
      ],
    } as unknown as Stores
    const told = (await lagOf(stores)).map(({ follower, standing }) =>
      [follower, ...standing.map(({ partition, reason }) => `${partition} ${reason}`)])
    t.strictSame(told, [
      ['users', '1 has no leader', '2 was cut back'],
      ['stream uplinks', '0 is compacted', '1 has no leader', '2 was cut back'],
      ['presence', '3 may not be read'],
      ['routing', '3 may not be read'],
      ['connections', '1 may not be written'],
      ['nodes'],
      ['group push', '0 has no leader'],
    ])
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
