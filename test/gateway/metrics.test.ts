import { readFileSync } from 'node:fs'
import t from 'tap'
import { declared } from '../../gateway/metrics/declared.js'
import { metricsPage } from '../../gateway/metrics/page.js'
import { GatewayMetrics } from '../../gateway/metrics.js'
import type { Circuit } from '../../ledger/circuit.js'
import { promtool, promtoolMissing } from '../deploy/promql.js'
import { ackedUpTo, alive, connected, uplinks } from './edge/dialects.js'
import { startTestNode } from './node.js'
import { secret as webhookSecret } from './webhooks/receiver.js'

t.test('Circuits are shown by dependency, with the worst of their states and what they have counted together', async t => {
  const metrics = new GatewayMetrics('1.2.3')
  let circuits: Circuit[] = [
    { dependency: 'redis-tables', state: 'closed', opened: 1, refused: 10 },
    { dependency: 'redis-tables', state: 'half-open', opened: 2, refused: 5 },
    { dependency: 'kafka', state: 'open', opened: 1, refused: 0 },
  ]
  metrics.observe({
    connections: () => 0,
    connectionsMax: 0,
    memoryPressure: () => 0,
    intakeBytes: () => 0,
    broadcasts: () => 0,
    rooms: () => 0,
    roomBytes: () => 0,
    activeUsers: () => 0,
    activeRooms: () => 0,
    overloadWaitSeconds: () => 0,
    heldConnections: () => 0,
    admissionLevel: () => 0,
    tableLag: () => new Map(),
    conditionSeconds: () => new Map(),
    circuits: () => circuits,
  })
  const shown = async () => (await metrics.registry.metrics()).split('\n').filter(line => line.startsWith('ledgerline_circuit'))
  t.strictSame(await shown(), [
    'ledgerline_circuit_state{dependency="redis-tables"} 1',
    'ledgerline_circuit_state{dependency="kafka"} 2',
    'ledgerline_circuit_opened_total{dependency="redis-tables"} 3',
    'ledgerline_circuit_opened_total{dependency="kafka"} 1',
    'ledgerline_circuit_refused_total{dependency="redis-tables"} 15',
    'ledgerline_circuit_refused_total{dependency="kafka"} 0',
  ])
  circuits = [{ dependency: 'kafka', state: 'closed', opened: 1, refused: 3 }]
  t.strictSame(await shown(), [
    'ledgerline_circuit_state{dependency="kafka"} 0',
    'ledgerline_circuit_opened_total{dependency="kafka"} 1',
    'ledgerline_circuit_refused_total{dependency="kafka"} 3',
  ], 'without those that are gone')
})

/** How long a connection has been open is known in ticks of 100 ms. */
async function someTicks (): Promise<void> { await new Promise(resolve => setTimeout(resolve, 300)) }

t.test('docs/metrics.md is what `npm run docs:metrics` makes', async t => {
  t.equal(readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8'), metricsPage())
})

t.test('A node with a port for metrics', async t => {
  const node = await startTestNode(t, {
    LEDGERLINE_METRICS_PORT: '0',
    LEDGERLINE_APPS: JSON.stringify([{ name: 'shop', issuers: [{ issuer: 'shop', secret: 'the secret of an app in these tests' }] }]),
    LEDGERLINE_WEBHOOKS: JSON.stringify([{ name: 'crm', url: 'http://127.0.0.1:9/', streams: ['uplinks'], secret: webhookSecret }]),
  })
  const { client } = await connected(t, node, 'TCP', 'ann')
  client.sendAll(uplinks(1, 40))
  await ackedUpTo(client, 40)
  await someTicks()
  await node.push('ann', 'hi')
  t.equal((await client.next()).op, 'downlink')
  client.send({ op: 'downlinkAck', seq: 1 })
  await alive(t, client)
  const scraped = await fetch(`${node.metrics}/metrics`)
  const text = await scraped.text()
  const numberOf = (series: string) => Number(text.split('\n').find(line => line.startsWith(`${series} `))?.split(' ')[1])

  t.test('tells of every metric that is declared, and of none that is not, without a key', async t => {
    t.equal(scraped.status, 200)
    const told = [...text.matchAll(/^# TYPE (ledgerline_\S+) (\S+)$/gm)].map(([, name, type]) => `${type} ${name}`)
    t.strictSame(told.toSorted(), Object.values(declared).map(({ type, name }) => `${type} ${name}`).toSorted())
  })

  t.test('has what alerts go by at 0 before it happens', async t => {
    for (const what of ['entry', 'user', 'uplink', 'presence', 'receipt', 'hand-over', 'room-entry', 'room', 'post', 'connection', 'report']) {
      t.equal(numberOf(`ledgerline_set_aside_total{what="${what}"}`), 0, what)
    }
    for (const code of ['bad-request', 'payload-too-large', 'room-closed', 'internal', 'bad-record']) {
      t.equal(numberOf(`ledgerline_downlinks_rejected_total{code="${code}"}`), 0, code)
    }
    t.equal(numberOf('ledgerline_webhook_records_total{webhook="crm",outcome="undelivered"}'), 0)
    t.equal(numberOf('ledgerline_webhook_deleted_blocks_total{webhook="crm"}'), 0)
  })

  t.test('times acks, delivery, commits and appends', async t => {
    for (const { name } of [
      declared.uplinkAck, declared.downlinkDelivery, declared.downlinkAck, declared.commit, declared.append,
    ]) {
      t.ok(numberOf(`${name}_count`) > 0, name)
      t.ok(numberOf(`${name}_sum`) < 60 * numberOf(`${name}_count`), `${name} in seconds`)
    }
    t.equal(numberOf('ledgerline_downlink_delivery_seconds_count'), 1)
  })

  t.test('does not time a downlink that waited for its client', async t => {
    await node.gone(() => { client.destroy() })
    await node.push('ann', 'later')
    await someTicks()
    const { client: back } = await connected(t, node, 'TCP', 'ann', { downlinkSeq: 1 })
    t.match(await back.next(), { op: 'downlink', seq: 2 })
    const { text } = await node.request('GET', '/metrics')
    t.match(text, /^ledgerline_downlinks_total 2$/m)
    t.match(text, /^ledgerline_downlink_delivery_seconds_count 1$/m)
  })

  t.test('has names by the conventions of Prometheus', { skip: promtoolMissing() ?? false }, async t => {
    const checked = promtool(['check', 'metrics'], text)!
    t.ok(checked.ok, checked.said)
  })
})

t.test('A command that can not be read is counted as rejected, and a record of another stream is not', async t => {
  const metrics = new GatewayMetrics('test')
  for (const stream of ['downlinks', 'uplinks', 'downlinks']) metrics.log.rejected(stream)
  const text = await metrics.registry.metrics()
  t.match(text, /^ledgerline_downlinks_rejected_total\{code="bad-record"\} 2$/m)
})
