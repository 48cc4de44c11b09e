/*
  What a build takes of disk, memory and its neighbours' time, at its bounds and at rest, beside another build: every
  measurement in rounds, the builds in turns within each.
*/
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { goals } from './builds/goals.js'
import { measurements } from './builds/measurements.js'
import { readOptions } from './builds/options.js'
import { print, write } from './builds/report.js'
import { patience } from './cluster/patience.js'
import { choose } from './options.js'
import { machine } from './report/machine.js'
import { startProgress } from './report/progress.js'
import { summariseRows } from './report/rows.js'

const { options, chosen } = readOptionsOrExit()
const temporary = mkdtempSync(join(tmpdir(), 'ledgerline-bench-'))
process.on('exit', () => rmSync(temporary, { recursive: true, force: true, maxRetries: 3 }))

const about = machine(temporary)
if (about.temporaryFileSystem === 'tmpfs') {
  console.error('the temporary directory is in memory, where a sync costs nothing: set TMPDIR to a directory on a disk')
}
const before = loadavg()[0]
const builds = Object.keys(options.programs)
const labels = { this: 'this build', other: 'the other build' }
const calm = patience(options.patienceMs)
const plan = chosen.flatMap(measurement =>
  Array.from({ length: options.rounds ?? measurement.rounds }, (_, i) => i + 1)
    .flatMap(round => builds.map(build => ({ measurement, round, build }))))
const progress = startProgress(plan.length)
/** @type {Map<string, object[]>} what each build had of each round, by measurement */
const results = new Map(chosen.map(({ id }) => [id, []]))
for (const [index, { measurement, round, build }] of plan.entries()) {
  progress.show(`${measurement.id}, ${labels[build]}, round ${round} of ${options.rounds ?? measurement.rounds}`)
  await calm({ load: [process.pid] })
  const result = await runOnce(measurement, build, index)
  results.get(measurement.id).push(result)
  progress.done(measurement, undefined, { ...Object.values(result.rows ?? {})[0], error: result.error })
}
progress.end()

const report = {
  machine: about,
  options: { ...options, programs: undefined, out: undefined, otherBuild: builds.length > 1 },
  loadAverages: { before, after: loadavg()[0] },
  measurements: summariseRows(chosen.map(withRows), results, goals),
}
print(report)
write(options.out, report)
process.exitCode = [...results.values()].flat().some(({ error }) => error) ? 1 : 0

/** @returns {Promise<object>} figures by build and row, or `error` with the reason why there are none */
async function runOnce (measurement, build, index) {
  const program = options.programs[build]
  const dataDir = join(temporary, `data-${index}`)
  mkdirSync(dataDir)
  const startMs = performance.now()
  try {
    const { rows } = await measurement.run({ program, dataDir, options })
    const seconds = Math.round((performance.now() - startMs) / 1000)
    const told = { seconds, loadAverage: loadavg()[0] }
    const named = Object.entries(rows).map(([row, figures]) => [rowName(build, row), { ...figures, ...told }])
    return { rows: Object.fromEntries(named) }
  } catch (err) {
    // Reports are published: no paths of this machine.
    return { error: `${labels[build]}: ${err.message.replaceAll(resolve(dirname(program), '../..'), '')}` }
  } finally {
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** A row of the table for each row of each build, the same ones below each other. */
function withRows (measurement) {
  return {
    ...measurement,
    rows: Object.entries(measurement.rows).flatMap(([row, label]) => builds.map(build => ({
      name: rowName(build, row),
      label: [labels[build], label].filter(Boolean).join(', '),
      own: build === 'this',
      beside: build === 'this' ? rowName('other', row) : undefined,
    }))),
  }
}

function rowName (build, row) {
  return row === 'all' ? build : `${build}-${row}`
}

function readOptionsOrExit () {
  try {
    const options = readOptions(process.argv.slice(2))
    for (const program of Object.values(options.programs)) {
      if (!existsSync(program)) throw new Error(`no such build: ${program}`)
    }
    return { options, chosen: choose('only', options.only, measurements) }
  } catch (err) {
    console.error(err.message)
    process.exit(2)
  }
}
