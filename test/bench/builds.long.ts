import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))

interface Report {
  readonly measurements: ReadonlyArray<{
    readonly id: string
    readonly figures: ReadonlyArray<{ readonly key: string }>
    readonly rows: readonly Row[]
  }>
}

interface Row {
  readonly label: string
  readonly note: string
  readonly cells: Readonly<Record<string, unknown>>
}

/** Runs the measurements of these names, and reads what it wrote. */
async function measure (t: Test, names: readonly string[]): Promise<Report> {
  const out = join(t.testdirName, names[0]!)
  const args = [join(root, 'bench/builds.js'), '--quick', '--only', names.join(), '--out', out]
  // What tests go by is no setting of a gateway, which refuses what it does not know.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LEDGERLINE_TEST_')))
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  t.teardown(() => child.kill())
  const [complaint, code] = await Promise.all([
    text(child.stderr), new Promise(resolve => child.once('exit', resolve)),
  ])
  t.equal(code, 0, complaint)
  return JSON.parse(readFileSync(join(out, 'builds.json'), 'utf8')) as Report
}

t.test('bench:builds has every figure of every measurement', { timeout: 850_000 }, async t => {
  t.testdir()
  const { measurements } = await import(join(root, 'bench/builds/measurements.js')) as Report
  const ids = measurements.map(({ id }) => id)
  t.equal(ids.length, 17)
  // Side by side, for most of their time they wait until the gateway rests.
  const reports = await Promise.all([0, 1].map(half => measure(t, ids.filter((_, i) => i % 2 === half))))
  const measured = reports.flatMap(({ measurements }) => measurements)
  t.strictSame(new Set(measured.map(({ id }) => id)), new Set(ids))
  for (const { id, figures, rows } of measured) {
    for (const { label, note, cells } of rows) {
      t.strictSame(Object.keys(cells), figures.map(({ key }) => key), `${id}: ${label} ${note}`)
    }
  }
})
