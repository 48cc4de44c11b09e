/* `npm run simulate:coverage`: what some seeds have reached of the code that runs in production, and what not. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { faultNames } from './faults.js'
import { simulateInProcess } from './process.js'

const usage = `Usage: npm run simulate:coverage -- [options]

  --from N      the first seed, 1 by default
  --count N     how many, 20 by default
  --minutes N   of each, 2 by default
  --nodes N     of the second half of them, 5 by default; the first half have 3`

/** What a world is to reach, by what it is. */
const parts: Readonly<Record<string, RegExp>> = {
  fold: /^actors\/user\//,
  connection: /^actors\/connection\/|^gateway\/edge\//,
  partition: /^actors\/[^/]+$/,
  overload: /^gateway\/(?:overload|admission-level|load|choice)\.ts$/,
  tokens: /^gateway\/(?:auth\/.*|edge\/token)\.ts$/,
  lifecycle: /^gateway\/(?:drain.*|leases|lifecycle|main|node.*|orphans|kick|bans|push|rebuild|redelivery|choice)\.ts$|^gateway\/roles\//,
  tables: /^projections\//,
  evidence: /^evidence\/(?:audit\/|audit\.ts)/,
  SDK: /^client\//,
}

/** Of a file, as istanbul writes it; places count lines from 1. */
interface FileCoverage {
  readonly path: string
  readonly fnMap: Readonly<Record<string, { readonly name: string, readonly loc: Range }>>
  readonly branchMap: Readonly<Record<string, { readonly loc: Range }>>
  readonly f: Readonly<Record<string, number>>
  readonly b: Readonly<Record<string, readonly number[]>>
}

interface Range { readonly start: { readonly line: number }, readonly end: { readonly line: number } }

const root = fileURLToPath(new URL('../..', import.meta.url))

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: '20' },
    minutes: { type: 'string', default: '2' },
    nodes: { type: 'string', default: '5' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(usage)
else await measure()

async function measure (): Promise<void> {
  const raw = mkdtempSync(join(tmpdir(), 'ledgerline-coverage-'))
  try {
    const [happened, told] = [new Map<string, number>(), new Map<string, number>()]
    const half = Math.ceil(Number(values.count) / 2)
    for (const [first, nodes] of [[Number(values.from), '3'], [Number(values.from) + half, values.nodes]] as const) {
      const options = ['--seed', String(first), '--count', String(half), '--minutes', values.minutes, '--nodes', nodes, '--stores', 'drawn']
      for await (const outcome of simulateInProcess(options, { env: { NODE_V8_COVERAGE: raw } })) {
        for (const violation of outcome.violations) console.log(`seed ${outcome.seed}: ${violation}`)
        add(happened, outcome.faults)
        add(told, outcome.told)
      }
    }
    console.log(`faults: ${counted(happened)}; never: ${faultNames.filter(name => !happened.has(name)).join(', ') || 'none'}`)
    console.log(`clients were told: ${counted(told)}`)
    tell(mapped(raw))
  } finally {
    rmSync(raw, { recursive: true })
  }
}

function add (to: Map<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [what, count] of Object.entries(counts)) to.set(what, (to.get(what) ?? 0) + count)
}

function counted (counts: ReadonlyMap<string, number>): string {
  return [...counts].sort(([, one], [, other]) => other - one).map(([what, count]) => `${what} ${count}`).join(', ')
}

/** What V8 has counted, by the lines of the sources. */
function mapped (raw: string): FileCoverage[] {
  const c8 = createRequire(import.meta.url).resolve('c8/bin/c8.js')
  const folders = ['actors', 'client', 'evidence', 'gateway', 'projections']
  execFileSync(process.execPath, [
    c8, 'report', '--merge-async', '--temp-directory', raw, '--reports-dir', raw, '--reporter', 'json',
    ...folders.flatMap(folder => ['--include', `dist/${folder}/**`]),
  ], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
  return Object.values(JSON.parse(readFileSync(join(raw, 'coverage-final.json'), 'utf8')) as Record<string, FileCoverage>)
}

function tell (files: readonly FileCoverage[]): void {
  for (const [part, pattern] of Object.entries(parts)) {
    const own = files.filter(({ path }) => pattern.test(relative(root, path)))
    const counts = { reached: 0, all: 0 }
    const never = own.flatMap(file => unreached(file, counts))
    console.log(`${part}: ${counts.reached} of ${counts.all} branches reached; never:`)
    for (const line of never) console.log(`  ${line}`)
  }
}

/** Functions that never ran, and branches of those that did, in their order. */
function unreached (
  { path, fnMap, branchMap, f, b }: FileCoverage, counts: { reached: number, all: number }
): string[] {
  const name = relative(root, path)
  const idle = Object.entries(fnMap).filter(([id]) => f[id] === 0).map(([, { name, loc }]) => ({ name, loc }))
  const found = idle.map(({ name, loc }) => ({ loc, what: `${name}, all of it` }))
  for (const [id, { loc }] of Object.entries(branchMap)) {
    counts.all++
    if (b[id]!.some(count => count > 0)) counts.reached++
    else if (!idle.some(({ loc: all }) => isWithin(loc, all))) found.push({ loc, what: '' })
  }
  return found.sort((one, other) => one.loc.start.line - other.loc.start.line).map(({ loc: { start, end }, what }) =>
    `${name}:${start.line}${end.line === start.line ? '' : `-${end.line}`} ${what}`.trimEnd())
}

function isWithin ({ start, end }: Range, all: Range): boolean {
  return start.line >= all.start.line && end.line <= all.end.line
}
