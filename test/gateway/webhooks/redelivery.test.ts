import { Registry } from 'prom-client'
import t from 'tap'
import { WebhookMetrics } from '../../../gateway/webhooks/metrics.js'
import { RunningWebhook } from '../../../gateway/webhooks/running.js'
import { webhooksIn } from '../../../gateway/webhooks/setting.js'
import { embeddedLog } from '../../../ledger/embedded/log.js'
import { openStore } from '../../../ledger/embedded/store.js'
import { nobodyWatches } from '../../../schemas/conditions.js'
import { posts } from '../../../schemas/streams.js'
import { until } from '../node.js'
import { secret, startReceiver } from './receiver.js'

const count = 24

t.test('A redelivery', async t => {
  t.test('that is asked for at two nodes at once ends at both, and each sends a share', async t => {
    const receiver = await startReceiver(t)
    const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
    const log = embeddedLog(store, { partitions: 4 })
    const entry = { name: 'crm', url: receiver.url, secret, streams: ['posts'] }
    const [webhook] = webhooksIn(JSON.stringify([entry]), () => true)
    const nodes = [1, 2].map(() => new RunningWebhook(webhook!, {
      log,
      places: log.groupPlaces,
      push: async () => { throw new Error('none of them answers') },
      frameBytesMax: 1 << 20,
      metrics: new WebhookMetrics(new Registry(), () => new Map()),
      health: nobodyWatches,
      version: '1.2.3',
    }))
    t.teardown(async () => {
      await Promise.all(nodes.map(node => node.stop()))
      await log.close()
      await store.close()
    })
    receiver.answer = () => 422
    await Promise.all(nodes.map(node => node.start()))
    for (let i = 0; i < count; i++) {
      const post = {
        roomId: `room ${i}`, roomSeq: 1, messageId: 'm', from: '', service: '', payload: Buffer.from('x'), postedAtMs: 1,
      }
      await log.append(posts, i % log.partitions(posts), [post])
    }
    const places = () => nodes.flatMap(node => node.groups().flatMap(({ partitions }) => [...partitions.values()]))
    await until('all were given up', () => places().reduce((sum, next) => sum + next, 0n) === BigInt(count))
    receiver.answer = () => 204
    const counts = await Promise.all(nodes.map(node => node.redeliver(AbortSignal.timeout(20_000))))
    t.equal(new Set(receiver.taken.map(({ id }) => id)).size, count)
    t.equal(counts.reduce((sum, { sent }) => sum + sent, 0), receiver.taken.length)
    t.strictSame(counts.map(({ undelivered }) => undelivered), [0, 0])
  })
})
