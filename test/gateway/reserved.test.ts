import t, { type Test } from 'tap'
import { isOwn } from '../../gateway/edge/reports.js'
import { tellOfNode } from '../../gateway/node.js'
import { endConnections } from '../../gateway/orphans.js'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore, type Store } from '../../ledger/embedded/store.js'
import { noReport } from '../../projections/nodes.js'
import { routingKey } from '../../projections/routing.js'
import { embeddedTables } from '../../projections/tables/embedded.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import { ledger, nodes } from '../../schemas/streams.js'

/** A disk that takes as long as it is not let go. */
async function slowDisk (t: Test) {
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  let held = false
  const request = (lazy: boolean) => { if (!held) store.request(lazy) }
  const slow: Store = Object.create(store, { request: { value: request } })
  return {
    store: slow,
    hold () { held = true },
    release () {
      held = false
      store.request(false)
    },
  }
}

function uplink (bytes: number): Entry {
  const payload = Buffer.alloc(bytes)
  return {
    userId: 'ann',
    atMs: 1,
    fact: { type: 'UplinkReceived', connectionId: 'c1', seq: 1, service: '', payload, priority: 0, roomId: '' },
  }
}

/** What came of it within a turn. */
function soon (outcome: Promise<unknown>): Promise<string> {
  const turn = new Promise<string>(resolve => { setImmediate(resolve, 'waits') })
  return Promise.race([outcome.then(() => 'stored', () => 'refused'), turn])
}

t.test('a slow disk takes ends of connections and reports of nodes when clients have filled all else', async t => {
  const { store, hold, release } = await slowDisk(t)
  const log = embeddedLog(store, { pendingBytesMax: 1 << 20 })
  const tables = embeddedTables(store)
  const value = { nodeId: 'n1', nodeEpoch: 1, deviceId: 'd', platform: 'p' }
  await tables.apply('routing', 0, [{ type: 'put', key: routingKey('ann'), field: 'c1', value }], { next: 1n, atMs: 1 })
  hold()
  const fillers = []
  for (let refused = 0, i = 0; refused < 8; i = (i + 1) % 8) {
    const filler = log.append(ledger, i, [uplink(5_000)])
    fillers.push(filler)
    refused = await soon(filler) === 'refused' ? refused + 1 : 0
  }
  t.equal(log.health().ok, false)
  const own = Promise.all([
    tellOfNode(log, { nodeId: 'n1', epoch: 1 }, {
      type: 'NodeReported', ...noReport, connections: 1,
    }),
    endConnections({ log, tables, presenceGraceMs: 0 }, [0], () => true, 'its node is gone'),
  ])
  await new Promise(resolve => setImmediate(resolve))
  release()
  await t.resolves(own)
  await Promise.allSettled(fillers)
  const told: string[] = []
  for (let partition = 0; partition < 8; partition++) {
    for await (const { items } of log.read(ledger, partition, { from: 0n })) {
      told.push(...items.map(({ fact }) => fact.type).filter(type => type !== 'UplinkReceived'))
    }
    for await (const { items } of log.read(nodes, partition, { from: 0n })) {
      told.push(...items.map(({ fact }) => fact.type))
    }
  }
  t.strictSame(told.sort(), ['ConnectionClosed', 'NodeReported'])
})

t.test('what an edge tells by itself is all but what its clients send', async t => {
  const entry = (type: Fact['type']): Entry => ({ userId: 'ann', atMs: 1, fact: { type } as Fact })
  for (const type of ['ConnectionClosed', 'DeliveryReported', 'DownlinkSkipped', 'UplinksRefused'] as const) {
    t.equal(isOwn(entry(type)), true, type)
  }
  for (const type of ['ConnectionOpened', 'UplinkReceived'] as const) t.equal(isOwn(entry(type)), false, type)
})
