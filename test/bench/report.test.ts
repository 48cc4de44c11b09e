import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const { writeReports } = await import(new URL('../../../bench/report/files.js', import.meta.url).href)

t.test('The reports of a benchmark', async t => {
  const directory = t.testdir()
  const ids = ['idle', 'room', 'joins']
  const summaryOf = (id: string) => ({ id, title: `the ${id}`, figures: [], rows: [] })
  const run = (atMs: number, rounds: number, ...measured: string[]) => {
    const machine = { atMs, cpu: 'a cpu', cores: 2, platform: 'linux', node: 'v20.0.0', pinned: true, temporaryFileSystem: 'ext' }
    const options = { rounds, windowMs: 5_000, program: '/somewhere/ledgerline.js', out: directory }
    writeReports(directory, { machine, options, measurements: measured.map(summaryOf) }, ids)
  }
  const read = (file: string) => readFileSync(join(directory, file), 'utf8')
  const told = () => JSON.parse(read('results.json')).measurements
    .map((each: any) => `${each.id} at ${each.run.machine.atMs} in ${each.run.options.rounds}`)

  await t.test('keep what was measured before and is not measured now, with its run', async t => {
    run(1, 2, 'joins', 'idle')
    t.strictSame(told(), ['idle at 1 in 2', 'joins at 1 in 2'], 'in the order of all')
    run(2, 3, 'room', 'joins')
    t.strictSame(told(), ['idle at 1 in 2', 'room at 2 in 3', 'joins at 2 in 3'])
    const table = read('table.md')
    t.match(table, /^a cpu, .*Medians of 3 interleaved rounds/)
    t.match(table, /### the idle\n\nAn earlier run: a cpu, .*Medians of 2 interleaved rounds of 5 s, .*core\.\n\n\|/)
    t.match(table, /### the room\n\n\|/)
    t.notMatch(read('results.json'), 'somewhere')
  })
  await t.test('drop what is not measured any more', async t => {
    writeReports(directory, { machine: { atMs: 3, node: 'v20' }, options: { rounds: 1 }, measurements: [] }, ['room'])
    t.strictSame(told(), ['room at 2 in 3'])
  })
})
