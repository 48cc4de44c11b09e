import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { sum } from '../../evidence/audit/books.js'
import type { Block } from '../../ledger/log.js'
import { noReport } from '../../projections/nodes.js'
import type { ConnectionOpened, Entry, LoginPolicy } from '../../schemas/facts.js'
import type { NodeEntry } from '../../schemas/node-facts.js'
import type { ConnectionEnded, UplinkAccepted } from '../../schemas/records.js'
import { devices, longTtlMs, type Step, World } from '../actors/user/world.js'
import { auditOf, inBlocks, nodeStarted, readerOf } from './audit-given.js'

const device = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.nat({ max: devices - 1 }) })
const policy = fc.constantFrom<LoginPolicy>('device', 'platform', 'user', 'none')
const ttlMs = fc.constantFrom(60_000, 600_000, longTtlMs)
const oneIn = (n: number) => fc.nat({ max: n - 1 }).map(i => i === 0)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('connect' as const), device, policy, reinstalled: oneIn(8) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('request' as const),
      count: fc.oneof(
        { weight: 40, arbitrary: fc.integer({ min: 1, max: 4 }) },
        { weight: 1, arbitrary: fc.constant(1_001) }),
      ttlMs,
      only: fc.nat({ max: 12 }),
      except: fc.nat({ max: 12 }),
      bytesMax: fc.constantFrom(0, 0, 300, 1_000),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('read' as const), device, frames: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('send' as const), device, uplinks: fc.nat({ max: 3 }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('ack', 'report', 'refill', 'lose'), device }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('drop' as const), device, late: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), device, endSession: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kick' as const), device }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('crash', 'recordEnds') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1_000, 120_000, 1_200_000) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('repeat' as const), back: fc.nat({ max: 60 }), length: fc.integer({ min: 1, max: 8 }) }),
  })
const story = fc.array(step, { minLength: 1, maxLength: 120, size: 'max' })
/** Sizes of blocks, in turn. */
const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 })

t.test('The audit of any history that clients, edges and nodes can make', async t => {
  await t.test('finds nothing wrong, and its books balance', async () => {
    await fc.assert(fc.asyncProperty(story, sizes, async (steps, sizes) => {
      const { books, violations } = await auditOf(logOf(steps, sizes), { nowMs: longTtlMs })
      assert.deepEqual(violations, [])
      const { carried, requested, acked, expired, dropped, waiting } = books.downlinks
      assert.equal(carried + requested, acked + expired + sum(dropped) + waiting)
      const { uplinks, connections } = books
      assert.equal(uplinks.published, uplinks.accepted)
      assert.equal(connections.opened, sum(connections.closed) + connections.open)
      assert.equal(uplinks.due + connections.due, 0)
    }), { numRuns: 400 })
  })
  await t.test('finds nothing wrong when records repeat where they may', async () => {
    const back = fc.integer({ min: 1, max: 10 })
    await fc.assert(fc.asyncProperty(story, sizes, fc.nat(), back, async (steps, sizes, at, back) => {
      const log = logOf(steps, sizes)
      for (const stream of ['uplinks', 'connections'] as const) again(log.streams[stream] as Array<Block<unknown>>, at, back)
      const { violations } = await auditOf(log, { nowMs: longTtlMs, exact: false })
      assert.deepEqual(violations, [])
    }), { numRuns: 200 })
  })
})

/** A takeover: the records of some blocks once more, behind the last of them. */
function again (blocks: Array<Block<unknown>>, at: number, back: number): void {
  if (blocks.length === 0) return
  const end = at % blocks.length + 1
  blocks.splice(end, 0, ...blocks.slice(Math.max(0, end - back), end))
  for (const [offset, block] of blocks.entries()) blocks[offset] = { ...block, offset: BigInt(offset) }
}

/** All streams of one user's story, as a gateway would have them. */
function logOf (steps: readonly Step[], sizes: readonly number[]) {
  const world = new World()
  for (const step of steps) world.step(step)
  const published: UplinkAccepted[] = []
  for (const effect of world.effects) if (effect.type === 'publishUplink') published.push(effect.uplink)
  return readerOf({
    ledger: inBlocks(world.entries, sizes),
    uplinks: inBlocks(published, sizes),
    connections: inBlocks(recordsOf(world.entries), sizes),
    nodes: inBlocks(world.epochs.flatMap(toldIn), sizes),
  })
}

function toldIn ({ epoch, startedAtMs, lastWordAtMs }: World['epochs'][number]): NodeEntry[] {
  const fact = { type: 'NodeReported' as const, ...noReport }
  return [{ ...nodeStarted, epoch, atMs: startedAtMs }, { ...nodeStarted, epoch, atMs: lastWordAtMs, fact }]
}

function recordsOf (entries: readonly Entry[]): ConnectionEnded[] {
  const openings = new Map<string, { fact: ConnectionOpened, openedAtMs: number }>()
  const ended = new Set<string>()
  const records: ConnectionEnded[] = []
  for (const { userId, atMs, fact } of entries) {
    if (fact.type === 'ConnectionOpened' && !openings.has(fact.connectionId)) {
      openings.set(fact.connectionId, { fact, openedAtMs: atMs })
    }
    if (fact.type !== 'ConnectionClosed' || ended.has(fact.connectionId)) continue
    ended.add(fact.connectionId)
    const { fact: opening, openedAtMs } = openings.get(fact.connectionId)!
    records.push({ ...opening, ...fact, userId, openedAtMs, closedAtMs: atMs, resumedFrom: '', resumedTo: '' })
  }
  return records
}
