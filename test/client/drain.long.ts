import t from 'tap'
import { createClient } from '../../client/node.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { redisMissing, startRedis } from '../cluster/redis.js'
import { readUplinks, request, startProcess, tokenFor } from '../faults/node-process.js'
import { browserMissing, givenBrowser, until } from './page.js'

const missing = kafkaMissing() ?? redisMissing() ?? false

const users = Array.from({ length: 20 }, (_, i) => `user${i}`)

interface App { sent: number, readonly accepted: string[], readonly seen: string[], readonly events: string[] }

t.test('While an edge of two is drained', { skip: missing, timeout: 600_000 }, async t => {
  const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
  const directory = t.testdir({ e1: {}, e2: {}, u1: {}, profile: {}, bundle: {} })
  const start = async (name: string, roles: string) => await startProcess(t, `${directory}/${name}`, {
    KAFKA_BROKERS: kafka.brokers.join(','),
    REDIS_URL: redis.url,
    LEDGERLINE_TOPIC_PREFIX: `sdk-drain-${process.pid}`,
    LEDGERLINE_NODE_ID: name,
    LEDGERLINE_ROLES: roles,
  })
  const [core] = await Promise.all([start('u1', 'users,push,projections,ip-config'), start('e1', 'edge'), start('e2', 'edge')])
  const ipConfig = `${core.http}/v1/ip-config`
  await until(async () => (await request(core, '/v1/ip-config?transport=ws')).body?.endpoints?.length === 2)

  const stopped = new Set<string>()
  const apps = new Map<string, App>()
  for (const [i, userId] of users.entries()) {
    const token = await tokenFor(userId)
    const client = createClient({ ipConfig, transport: i % 2 ? 'tcp' : 'ws', getToken: () => token, deviceId: 'phone' })
    t.teardown(() => client.close())
    const app: App = { sent: 0, accepted: [], seen: [], events: [] }
    apps.set(userId, app)
    for (const name of ['disconnected', 'kicked', 'missed', 'migrated', 'failed'] as const) {
      client.on(name, () => app.events.push(name))
    }
    client.on('downlink', ({ messageId }) => { app.seen.push(messageId) })
    const sending = setInterval(() => {
      if (stopped.has('sending')) return
      const payload = String(++app.sent)
      client.send(payload).then(() => app.accepted.push(payload), err => app.events.push(err.code))
    }, 50)
    t.teardown(() => clearInterval(sending))
    client.connect()
  }
  const browser = browserMissing ? undefined : await givenBrowser(t, `${directory}/profile`, `${directory}/bundle`)
  const page = await browser?.open({ kind: 'memory', ipConfig, token: await tokenFor('page') })
  await page?.event('connected')
  await until(() => [...apps.values()].every(({ accepted }) => accepted.length > 5))
  for (const { events } of apps.values()) events.length = 0 // of attempts that had to wait until the cluster was warm

  const pushed: string[] = []
  const pushing = (async () => {
    while (!stopped.has('pushing')) {
      const messageId = `m${pushed.length + 1}`
      const { status } = await request(core, '/v1/downlinks',
        { to: { userIds: [...users, 'page'] }, messageId, payload: messageId })
      if (status !== 202) continue // with the same id once more
      pushed.push(messageId)
      await page?.send(`${pushed.length}`)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  })()
  for (const nodeId of ['e1', 'e2']) {
    const { status } = await request(core, `/v1/nodes/${nodeId}/drain`, { percent: 100, withinMs: 30_000 })
    t.equal(status, 202)
    await until(async () => (await request(core, `/v1/nodes/${nodeId}/drain`)).body?.state === 'done')
    const { body: { total, closed, uplinksLost, downlinksLost } } = await request(core, `/v1/nodes/${nodeId}/drain`)
    t.comment(`${nodeId}: ${total} connections`)
    t.strictSame({ closed, uplinksLost, downlinksLost }, { closed: 0, uplinksLost: 0, downlinksLost: 0 })
    await request(core, `/v1/nodes/${nodeId}/drain`, { percent: 0 })
    await until(async () => (await request(core, '/v1/ip-config?transport=ws')).body?.endpoints?.length === 2)
  }
  stopped.add('pushing').add('sending')
  await pushing
  await until(() => [...apps.values()].every(({ sent, accepted, seen }) =>
    accepted.length >= sent && seen.length >= pushed.length))

  for (const [userId, { sent, accepted, seen, events }] of apps) {
    t.strictSame(accepted, Array.from({ length: sent }, (_, i) => `${i + 1}`), `${userId}: each send resolved once`)
    t.strictSame(seen, pushed, `${userId}: each downlink came once and in order`)
    t.ok(events.length > 0 && events.every(each => each === 'migrated'), `${userId}: it moved: ${events.join(', ')}`)
  }
  const total = [...apps.values()].reduce((sum, { sent }) => sum + sent, 0)
  await until(async () => (await readUplinks(core)).length >= total)
  const published = await readUplinks(core)
  for (const [userId, { sent }] of apps) {
    const payloads = published.filter(each => each.userId === userId).map(({ payload }) => payload)
    t.strictSame(payloads, Array.from({ length: sent }, (_, i) => `${i + 1}`), `${userId}: the stream says the same`)
  }

  await t.test('a page in a browser sees nothing of it', { skip: browserMissing }, async t => {
    const count = pushed.length
    await page!.until(({ downlinks, accepted }) => downlinks.length >= count && accepted.length >= count)
    const { downlinks, accepted, events } = await page!.seen()
    t.strictSame(downlinks, pushed)
    t.strictSame(accepted.map(([text]) => text), pushed.map((_, i) => `${i + 1}`))
    t.match(events.map(({ name }) => name).join(' '), /^connected( migrated)+$/)
  })
})
