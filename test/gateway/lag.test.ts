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
    } as unknown as Stores
    const [users] = await lagOf(stores)
    t.match(users, { follower: 'users', blocks: 0, unknown: 'TOPIC_AUTHORIZATION_FAILED: grant READ' })
    t.strictSame(users!.partitions.map(({ partition }) => partition), [0])
  })

  t.test('comes with the troubles of streams, and no others', async t => {
    const health = new HealthRegistry(pino({ enabled: false }))
    t.teardown(() => health.stop())
    health.begin('refused', 'test.ledger/0: TOPIC_AUTHORIZATION_FAILED: grant WRITE', 'test.ledger/0')
    health.begin('memory', 'short')
    const app = Fastify()
    t.teardown(() => app.close())
    app.addSchema(errorSchema)
    app.register(lagRoutes, { lag: async () => [], health: () => health.answer() })
    const { followers, troubles } = (await app.inject('/v1/lag')).json()
    t.strictSame(followers, [])
    t.match(troubles, [{ condition: 'refused', reason: /grant WRITE/, heals: /A person/ }])
    t.equal(troubles.length, 1)
  })
})
