import t from 'tap'
import { NodeLives } from '../../evidence/audit/node-lives.js'
import { Rounds } from '../../evidence/audit/rounds.js'
import type { NodeEntry, NodeFact } from '../../schemas/node-facts.js'
import { at, opened } from '../actors/user/history.js'
import { auditOf, inBlocks, nodeStarted, othersReports, readerOf } from './audit-given.js'

/* Whether the epoch of a node has ended, and since when, is for the order of the streams to say, and for no clock. */

const year = 400 * 86_400_000
const lease = 15_000

function of (epoch: number, fact: NodeFact, atMs = 0, nodeId = 'n1'): NodeEntry { return { nodeId, epoch, atMs, fact } }

function started (epoch: number, atMs = 0): NodeEntry {
  return of(epoch, { ...nodeStarted.fact, leaseMs: lease } as NodeFact, atMs)
}

async function codesOf (nodes: readonly NodeEntry[], epochs = [1], nowMs = 0, cut = 0): Promise<string[]> {
  const ledger = epochs.map((nodeEpoch, i) =>
    at(i, opened(`c${i}`, { nodeEpoch, deviceId: `d${i}`, sessionId: `s${i}` })))
  const kept = inBlocks(nodes, [1]).slice(cut)
  const log = readerOf({ ledger: inBlocks(ledger, [1]), uplinks: [], connections: [], nodes: kept })
  const bounds: typeof log.bounds = async (stream, partition) => stream.name === 'nodes'
    ? { ...await log.bounds(stream, partition), first: BigInt(cut), next: BigInt(nodes.length) }
    : await log.bounds(stream, partition)
  const { violations } = await auditOf({ ...log, bounds }, { nowMs })
  return violations.map(({ code }) => code).filter(code => code === 'open-on-dead-node' || code === 'epoch-went-back')
}

t.test('A connection that is open on a node which was declared lost', async t => {
  const lostBy = (atMs: number) => of(1, { type: 'NodeLost' }, atMs)
  t.strictSame(await codesOf([started(1), lostBy(-year)], [1], year), [],
    'is no violation for a clock that is a year off: nobody has had time to close it')
  t.strictSame(await codesOf([started(1), lostBy(0), ...othersReports(90_000)]), [], 'nor while they may be about to')
  t.strictSame(await codesOf([started(1), lostBy(year), ...othersReports(120_000)], [1], -year), ['open-on-dead-node'],
    'is one where others have reported for long since, whatever any clock says')
  t.strictSame(await codesOf([started(1), ...othersReports(120_000), lostBy(0)]), [], 'and not where they did before')
  const repeats = othersReports(5_000)
  t.strictSame(await codesOf([started(1), lostBy(0), ...repeats, ...Array<NodeEntry>(30).fill(repeats[1]!)]), [],
    'nor where a report stands there many times')
})

t.test('A connection that is open in an epoch before the last one of its node', async t => {
  const reports = Array.from({ length: 24 }, (_, i) =>
    of(2, { type: 'NodeReported' } as NodeFact, -year + (i + 1) * lease / 3))
  t.strictSame(await codesOf([started(1), started(2)]), [], 'may be about to be closed')
  t.strictSame(await codesOf([started(1), started(2), ...reports]), ['open-on-dead-node'])
})

t.test('A connection that opens in an epoch behind one of a later epoch', async t => {
  t.strictSame(await codesOf([started(1), started(2)], [2, 1], 2 * year), [],
    'is of a process that has not ended yet, where its node had that epoch before')
  t.strictSame(await codesOf([started(2)], [2, 1]), ['epoch-went-back'])
  t.strictSame(await codesOf([started(2)], [1, 2]), [], 'in their order nothing went back')
  t.strictSame(await codesOf([started(1), started(2)], [2, 1], 0, 1), [], 'nor where the stream may have forgotten that epoch')
})

t.test('A start that is stored behind that of a later epoch', async t => {
  const report = (epoch: number) => of(epoch, { type: 'NodeReported' } as NodeFact, 7)
  t.strictSame(await codesOf([started(3), started(2), started(2), report(3)], []), [],
    'may be of a process that ended while it was under way')
  t.strictSame(await codesOf([started(3), started(2), report(2)], []), ['epoch-went-back'], 'is not where that one goes on')
  t.strictSame(await codesOf([started(3), started(1), started(2)], []), ['epoch-went-back'], 'nor where one does so again')
  t.strictSame(await codesOf([started(3), started(2), started(5), started(4)], []), [], 'but for another successor')
})

t.test('A process that reports on when its successor has begun', async t => {
  const late = (count: number, atMs = (i: number) => i) => Array.from({ length: count }, (_, i) =>
    of(1, { type: 'NodeReported' } as NodeFact, atMs(i)))
  const codes = (reports: readonly NodeEntry[]) => codesOf([started(1), started(2), ...reports], [])
  t.strictSame(await codes(late(12)), [], 'may not know of it yet')
  t.strictSame(await codes(late(40)), ['epoch-went-back'], 'must not go on')
  t.strictSame(await codes(late(40, () => 1)), [], 'and one report may be stored many times')
})

t.test('Rounds of reports', async t => {
  const rounds = new Rounds()
  const tell = (count: number, ...nodeIds: string[]) => {
    for (let i = 0; i < count; i++) for (const nodeId of nodeIds) rounds.reported(nodeId, 10_000)
  }
  tell(1, 'a', 'b')
  const { mark } = rounds
  t.equal(rounds.agoMs(mark), 0)
  tell(5, 'a', 'b')
  t.equal(rounds.agoMs(mark), 10_000, 'take as long as one node waits, but for what may have been late, and the round of the mark')
  for (let i = 0; i < 20; i++) {
    rounds.began('a')
    rounds.reported('a', 10_000)
  }
  t.equal(rounds.agoMs(mark), 10_000, 'the first report after a start says nothing')
})

t.test('Node lives tell when an epoch was over, of each', async t => {
  const nodes = inBlocks([started(1), of(1, { type: 'NodeStopped' }, 5), started(7, 9)], [1])
  const lives = await NodeLives.read(readerOf({ nodes }), () => {})
  t.strictSame([1, 3, 7, 8].map(epoch => lives.endOf('n1', epoch)),
    [{ atMs: 5, agoMs: 0 }, { atMs: 7, agoMs: 0 }, 'living', 'living'])
  t.equal(lives.endOf('n2', 1), undefined)
})
