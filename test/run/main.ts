import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { killAll, type Outcome, runFile } from './file.js'
import { loads } from './loads.js'
import { Schedule } from './schedule.js'

const usage = `usage: node dist/test/run/main.js [--long] [--tap] [FILE...]

Runs files of tests beside each other, as many as the machine bears: those given, else all dist/test/**/*.test.js,
or with --long all dist/test/**/*.long.js. Prints a line for each, and all that a file wrote that has failed; with
--tap all that each has written. The last line says "N passed, N failed, N skipped".`

const tests = fileURLToPath(new URL('..', import.meta.url))
const timeoutSeconds = { test: 480, long: 1_500 }

interface Totals { passed: number, failed: number, skipped: number }

async function main (): Promise<void> {
  const { positionals, values: { long, tap, help } } = parseArgs({
    allowPositionals: true,
    options: { long: { type: 'boolean' }, tap: { type: 'boolean' }, help: { type: 'boolean' } },
  })
  if (help) return console.log(usage)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      killAll()
      process.exit(1)
    })
  }
  const names = positionals.length > 0 ? positionals.map(nameOf) : namesOfAll(long ? '.long' : '.test')
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 }
  console.log(`TAP version 14\n1..${names.length}`)
  let count = 0
  await runAll(names, (name, outcome) => {
    report(++count, name, outcome, tap === true)
    for (const what of ['passed', 'failed', 'skipped'] as const) totals[what] += outcome[what]
  })
  console.log(`# ${Math.round(performance.now() / 1_000)} s`)
  console.log(`# ${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
  process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1
}

async function runAll (names: readonly string[], ended: (name: string, outcome: Outcome) => void): Promise<void> {
  const schedule = new Schedule(names, loads, availableParallelism())
  await new Promise<void>((resolve, reject) => {
    const goOn = () => {
      if (schedule.isOver) return resolve()
      for (const name of schedule.begin()) {
        const kind = name.endsWith('.long') ? 'long' : 'test'
        const options = { timeoutSeconds: timeoutSeconds[kind], isBackground: schedule.isBackground(name) }
        runFile(pathOf(name), options).then(outcome => {
          schedule.ended(name)
          ended(name, outcome)
          goOn()
        }).catch(reject)
      }
    }
    goOn()
  })
}

function report (number: number, name: string, outcome: Outcome, isWhole: boolean): void {
  const { ok, output, passed, failed, skipped, notes, seconds, cpuSeconds } = outcome
  const path = relative(process.cwd(), pathOf(name))
  if (isWhole || !ok) console.log(`# Subtest: ${path}\n${output.trimEnd().replaceAll(/^(?=.)/gm, '    ')}`)
  const took = `${seconds.toFixed(1)} s` + (cpuSeconds === undefined ? '' : `, ${cpuSeconds.toFixed(1)} s of CPU`)
  const rare = Object.entries({ failed, skipped }).flatMap(([what, count]) => count > 0 ? [`, ${count} ${what}`] : [])
  console.log(`${ok ? 'ok' : 'not ok'} ${number} - ${path} # ${passed} passed${rare.join('')} in ${took}`)
  if (!isWhole || !ok) for (const note of notes) console.log(`# ${note}`)
}

/** `client/idle.long`: what a file is called here, and in `loads.ts`. */
function nameOf (path: string): string {
  return relative(tests, resolve(path)).replace(/\.js$/, '')
}

function pathOf (name: string): string { return resolve(tests, `${name}.js`) }

function namesOfAll (ending: '.test' | '.long'): string[] {
  const paths = readdirSync(tests, { recursive: true, encoding: 'utf8' })
  return paths.filter(path => path.endsWith(`${ending}.js`)).sort().map(path => path.replace(/\.js$/, ''))
}

await main()
