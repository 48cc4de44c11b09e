import t from 'tap'
import { GatewayMetrics } from '../../gateway/metrics.js'
import type { Circuit } from '../../ledger/circuit.js'

t.test('Circuits are shown by dependency, with the worst of their states and what they have counted together', async t => {
  const metrics = new GatewayMetrics()
  let circuits: Circuit[] = [
    { dependency: 'redis-tables', state: 'closed', opened: 1, refused: 10 },
    { dependency: 'redis-tables', state: 'half-open', opened: 2, refused: 5 },
    { dependency: 'kafka', state: 'open', opened: 1, refused: 0 },
  ]
  metrics.observe({
    connections: () => 0,
    memoryPressure: () => 0,
    intakeBytes: () => 0,
    broadcasts: () => 0,
    rooms: () => 0,
    roomBytes: () => 0,
    activeUsers: () => 0,
    activeRooms: () => 0,
    overloadWaitSeconds: () => 0,
    admissionLevel: () => 0,
    commitSeconds: () => 0,
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
