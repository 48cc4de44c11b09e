import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'

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

t.test('bench:builds has every figure of every measurement', { timeout: 850_000 }, async t => {
  const out = t.testdir()
  const args = [join(root, 'bench/builds.js'), '--quick', '--out', out]
  // What tests go by is no setting of a gateway, which refuses what it does not know.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LEDGERLINE_TEST_')))
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  t.teardown(() => child.kill())
  const [complaint, code] = await Promise.all([
    text(child.stderr), new Promise(resolve => child.once('exit', resolve)),
  ])
  t.equal(code, 0, complaint)
  const { measurements } = JSON.parse(readFileSync(join(out, 'builds.json'), 'utf8')) as Report
  t.equal(measurements.length, 17)
  for (const { id, figures, rows } of measurements) {
    for (const { label, note, cells } of rows) {
      t.strictSame(Object.keys(cells), figures.map(({ key }) => key), `${id}: ${label} ${note}`)
    }
  }
})
