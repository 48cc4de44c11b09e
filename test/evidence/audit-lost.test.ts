import t, { type Test } from 'tap'
import { NodeLives } from '../../evidence/audit/node-lives.js'
import type { AuditedLog } from '../../evidence/audit/derived.js'
import type { Fact } from '../../schemas/facts.js'
import type { NodeEntry } from '../../schemas/node-facts.js'
import { at, closed, opened, reported, requested } from '../actors/user/history.js'
import { auditOf, inBlocks, nodeStarted, readerOf } from './audit-given.js'

/* Connections that somebody closed in the place of their node: whether it had ended is not for clocks to say. */

const hour = 3_600_000

/** Of the node n1, which began with epoch 1. */
function told (type: 'NodeReported' | 'NodeStarted' | 'NodeLost' | 'NodeStopped', epoch = 1, atMs = 0): NodeEntry {
  if (type === 'NodeStarted') return { ...nodeStarted, epoch, atMs }
  return { nodeId: 'n1', epoch, atMs, fact: { type } as NodeEntry['fact'] }
}

function lost (connectionId: string): Fact { return closed(connectionId, { code: 'node-lost', told: false }) }

/** c1 was closed in the place of its node, after a minute. */
const before = [at(0, opened('c1')), at(60_000, lost('c1'))]

async function codesOf (_t: Test, facts: readonly Fact[], nodes: readonly NodeEntry[]): Promise<string[]> {
  const ledger = [...before, ...facts.map(fact => at(61_000, fact))]
  const log = readerOf({
    ledger: inBlocks(ledger, [1]), uplinks: [], connections: [], nodes: inBlocks([nodeStarted, ...nodes], [1]),
  })
  const { violations } = await auditOf(log, { nowMs: hour })
  return violations.map(({ code }) => code).filter(code => code === 'lost-on-living-node')
}

t.test('A connection that was closed for the end of its node', async t => {
  const ahead = [told('NodeReported', 1, hour), told('NodeStarted', hour + 1, hour + 1)]
  t.strictSame(await codesOf(t, [], ahead), [], 'is no violation where that node had a clock that was an hour ahead')
  t.strictSame(await codesOf(t, [], [told('NodeLost', 1, -hour), told('NodeReported', 1, hour)]), [],
    'nor where it was declared lost, and slept')
  t.strictSame(await codesOf(t, [], [told('NodeReported', 1, 1_000)]), ['lost-on-living-node'],
    'is one where that node has not ended, whatever its clock says')
})

t.test('A node whose connections were closed', async t => {
  const ended = [told('NodeStopped')]
  const goesOn = [opened('c2'), requested('m1'), reported('c2', 1), closed('c2')]
  t.strictSame(await codesOf(t, goesOn, ended), ['lost-on-living-node'], 'had not ended where it welcomed a client afterwards')
  t.strictSame(await codesOf(t, [opened('c2'), closed('c2', { told: true })], ended), ['lost-on-living-node'],
    'or had told one that it is connected')
  t.strictSame(await codesOf(t, [opened('c2'), lost('c2')], ended), [],
    'may have had an opening on its way that came late')
  t.strictSame(await codesOf(t, goesOn, [told('NodeLost')]), [], 'may have slept, where it was declared lost')
  t.strictSame(await codesOf(t, goesOn, [told('NodeStarted', 2)]), [],
    'may not have seen yet that there is a later start, of a process that ended before it perhaps')
  t.strictSame(await codesOf(t, goesOn, [told('NodeStarted', 2), told('NodeStopped')]), [], 'nor where it stops then')
  t.strictSame(await codesOf(t, [opened('c2', { nodeEpoch: 2 }), requested('m1'), reported('c2', 1), closed('c2')],
    [told('NodeStarted', 2), told('NodeStopped', 2)]), [], 'may have begun anew')
})

t.test('An end of a node that is told while the ledger is read', async t => {
  const nodes = [nodeStarted]
  const log = readerOf({ ledger: inBlocks(before, [1]), uplinks: [], connections: [], nodes: inBlocks(nodes, [1]) })
  const late: AuditedLog = {
    ...log,
    read (stream, partition, range) {
      if (stream.name === 'ledger') log.streams.nodes = inBlocks([...nodes, told('NodeLost')], [1])
      return log.read(stream, partition, range)
    },
  }
  const { violations } = await auditOf(late, { nowMs: hour })
  t.strictSame(violations.map(({ code }) => code).filter(code => code === 'lost-on-living-node'), [], 'counts')
})

t.test('Node lives', async t => {
  const nodes = inBlocks([nodeStarted, told('NodeLost'), told('NodeStarted', 2), told('NodeReported', 1)], [1])
  const lives = await NodeLives.read(readerOf({ nodes }), () => {})
  t.strictSame([1, 2, 3].map(epoch => lives.fateOf('n1', epoch)), ['lost', 'living', undefined],
    'tell which epoch was lost, whatever its process tells later')
})
