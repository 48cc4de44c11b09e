import t, { type Test } from 'tap'
import type { Books } from '../../evidence/audit.js'
import type { Entry } from '../../schemas/facts.js'
import { partitionOf } from '../../schemas/partitioning.js'
import { closed, opened, requested } from '../actors/user/history.js'
import { run } from '../cli/given.js'
import { nodeStarted, partitions, storeIn } from './audit-given.js'

const partition = partitionOf('ann', partitions)
const at = (atMs: number, fact: Entry['fact']): Entry => ({ userId: 'ann', atMs, fact })
const first = [at(1, opened('c1')), at(2, requested('m1', { platforms: ['web'] })), at(3, requested('m2'))]

/** A data directory whose ledger has these entries, each in a block of its own. */
async function directoryOf (t: Test, entries: readonly Entry[]): Promise<string> {
  const directory = t.testdir()
  await storeIn(directory, {
    ledger: entries.map((entry, i) => ({ partition, offset: BigInt(i), items: [entry] })),
    uplinks: [],
    connections: [],
    nodes: [{ partition: 0, offset: 0n, items: [nodeStarted] }],
  })
  return directory
}

t.test('ledgerline audit', async t => {
  const cwd = t.testdir()

  t.test('prints the books of a data directory and ends with 0 where nothing is wrong', async t => {
    const directory = await directoryOf(t, first)
    const { code, stdout, stderr } = await run(['audit', '--data', directory], { cwd })
    t.equal(code, 0, stderr)
    t.match(stdout, /^3 entries of 1 users$/m)
    t.match(stdout, /^downlinks +carried over +0$/m)
    t.match(stdout, /requested +2\n +dropped, no-target +-1\n +waiting +-1\n +difference +0\n/)
    t.match(stdout, /opened +1\n +open at the end +1\n/)
    t.match(stdout, /^No violations\.$/m)
  })

  const wrong = [
    ...first, at(4, closed('c1')), at(5, closed('c1', { code: 'kicked' })), at(6, closed('c1', { code: 'internal' })),
  ]

  t.test('prints violations and ends with 1', async t => {
    const directory = await directoryOf(t, wrong)
    const { code, stdout, stderr } = await run(['audit', '--data', directory], { cwd })
    t.equal(code, 1)
    t.match(stdout, /^closed-twice +Connection c1 of user ann closed with disconnected, and again with kicked\. /m)
    t.match(stdout, /^2 violations: 2 closed-twice$/m)
    t.match(stderr, /2 violations/)
  })

  t.test('prints both as NDJSON, the books last', async t => {
    const directory = await directoryOf(t, wrong)
    const { code, lines } = await run(['audit', '--data', directory, '--json'], { cwd })
    t.equal(code, 1)
    const [violation, , last] = lines.map(line => JSON.parse(line))
    const positions = [`ledger ${partition}@3.0`, `ledger ${partition}@4.0`]
    t.match(violation, { code: 'closed-twice', userId: 'ann', positions })
    t.equal('app' in violation, false)
    const { books } = last as { books: Books }
    t.match(books, { entries: 6, violations: { 'closed-twice': 2 }, connections: { due: 1 } })
  })

  t.test('judges the range that it is asked about', async t => {
    const directory = await directoryOf(t, wrong)
    const { lines } = await run(['audit', '--data', directory, '--json', '--since', `${partition}@5`], { cwd })
    t.match(lines.map(line => JSON.parse(line)), [
      { code: 'closed-twice', positions: [`ledger ${partition}@3.0`, `ledger ${partition}@5.0`] },
      { books: { entries: 1, downlinks: { carried: 1, requested: 0, waiting: 1 } } },
    ])
    const { stdout } = await run(['audit', '--data', directory, '--until', `${partition}@4`], { cwd })
    t.match(stdout, /No violations/)
  })

  t.test('counts the end of a connection that the ledger did not let open', async t => {
    const directory = await directoryOf(t, [...first, at(4, closed('c2', { code: 'ledger-unavailable', told: false }))])
    const { code, stdout } = await run(['audit', '--data', directory], { cwd })
    t.equal(code, 0)
    t.match(stdout, /ends of what never opened +1\n/)
  })

  t.test('names an option that it does not understand, and ends with 2', async t => {
    const directory = await directoryOf(t, first)
    const since = await run(['audit', '--data', directory, '--since', 'lunch'], { cwd })
    t.match(since, { code: 2, stderr: /--since: got "lunch", want/ })
    t.match(await run(['audit', '--data', directory, '--partition', '9'], { cwd }), { code: 2, stderr: /want 0 to 1/ })
  })
})
