import pino from 'pino'
import t from 'tap'
import { startActors } from '../../actors/system.js'
import { WaitProbe } from '../../actors/wait-probe.js'
import { readConfig } from '../../gateway/read-config.js'
import { GatewayMetrics } from '../../gateway/metrics.js'
import { startUsersRole } from '../../gateway/roles/users.js'
import { SetAsides } from '../../gateway/set-asides.js'
import { openEmbeddedStores } from '../../gateway/stores-embedded.js'
import { contextOfMessage } from '../../gateway/tracing/context.js'
import { traceOfItem } from '../../gateway/tracing/logged.js'
import { type FinishedSpan, Tracing } from '../../gateway/tracing/tracing.js'
import { nobodyWatches } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Fact } from '../../schemas/facts.js'
import { ledger, nodes, posts, uplinks } from '../../schemas/streams.js'
import { opened, requested } from '../facts.js'
import { until } from './node.js'

/** What traces the messages of ann. */
function given (): { readonly tracing: Tracing, readonly spans: FinishedSpan[] } {
  const spans: FinishedSpan[] = []
  const sink = { lost: 0, add (span: FinishedSpan) { spans.push(span) }, async stop () {} }
  return { tracing: new Tracing({ spans: sink, nodeId: 'n1', ratio: 0, users: ['ann'], tell: () => {} }), spans }
}

function loggedOf (messageId: string) {
  const { traceId, spanId } = contextOfMessage(messageId)
  return { trace_id: traceId, span_id: spanId }
}

const uplink = (userId: string): Fact => ({
  type: 'UplinkReceived', connectionId: `c-${userId}`, seq: 1, service: '', payload: Buffer.from('up'), priority: 0, roomId: '',
})

t.test('A line of the log about an item of a stream names the trace of the message in it', async t => {
  const { tracing } = given()
  const post = { roomId: 'chat', roomSeq: 3, messageId: 'ann/7', from: 'ann', service: '', payload: Buffer.of(), postedAtMs: 1 }
  t.strictSame(traceOfItem(tracing, ledger, { userId: 'ann', atMs: 1, fact: requested('m1') }), loggedOf('m1'))
  t.strictSame(traceOfItem(tracing, posts, post), loggedOf('ann/7'), 'that of its uplink')

  t.test('and none where it is not traced, or there is no message', async t => {
    t.equal(traceOfItem(tracing, ledger, { userId: 'bob', atMs: 1, fact: requested('m1') }), undefined)
    t.equal(traceOfItem(tracing, ledger, { userId: 'ann', atMs: 1, fact: opened('c1') }), undefined)
    t.equal(traceOfItem(tracing, posts, { ...post, from: 'bob' }), undefined)
    t.equal(traceOfItem(tracing, nodes, { nodeId: 'n1', epoch: 1, atMs: 1, fact: { type: 'NodeStopped' } }), undefined)
    t.equal(traceOfItem(undefined, posts, post), undefined)
  })
})

t.test('An uplink that can not be published is logged with its trace', async t => {
  t.testdir()
  const lines: Array<Record<string, unknown>> = []
  const logger = pino({}, { write (line: string) { lines.push(JSON.parse(line)) } })
  const stores = await openEmbeddedStores(readConfig({ LEDGERLINE_DATA: t.testdirName, LEDGERLINE_PARTITIONS: '1' }), logger)
  const log = Object.assign(Object.create(stores.log), {
    append: (async (stream, ...given) => {
      if (stream.name === uplinks.name) throw new GatewayError('payload-too-large')
      return await stores.log.append(stream, ...given)
    }) as typeof stores.log.append,
  })
  const { tracing } = given()
  const system = startActors()
  const metrics = new GatewayMetrics('test')
  const users = await startUsersRole({
    stores: { ...stores, log },
    system,
    metrics,
    asides: new SetAsides({ log, metrics, logger }),
    logger,
    health: nobodyWatches,
    folds: new WaitProbe(),
    nodeTable: { hasEnded: () => false },
    roomSilenceMs: 0,
    tracing,
  })
  t.teardown(async () => {
    await users.stop()
    system.stop()
    await stores.close()
  })
  for (const userId of ['bob', 'ann']) {
    const facts = [opened(`c-${userId}`), uplink(userId)]
    await stores.log.append(ledger, 0, facts.map(fact => ({ userId, atMs: Date.now(), fact })))
  }
  const line = (userId: string) => lines.find(line => line.userId === userId)!
  await until('both are set aside', () => line('ann') && line('bob'))
  t.match(line('ann'), { msg: 'a derived record was set aside', messageId: 'ann/1', ...loggedOf('ann/1') })
  t.match(line('bob'), { msg: 'a derived record was set aside', messageId: 'bob/1' })
  t.notMatch(line('bob'), { trace_id: String })
})
