/* `npm run simulate`: a whole cluster in one process and in virtual time, from a seed (docs/simulation.md). */
import { cpuSeconds, network, world } from './preload.js'
import { closeSync, openSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { FaultName } from './faults.js'
import type { PlannedStores } from './plan.js'
import type { Outcome } from './simulate.js'
import { Trace } from './trace.js'

const usage = `Usage: npm run simulate -- [options]

  --seed N          1 by default; the same seed does the same
  --count N         so many seeds from that one on, one after the other; 1 by default
  --minutes N       of virtual time with traffic, 2 by default
  --stores KIND     cluster by default; embedded: one node on a disk of its own; drawn: one of both, by the seed
  --nodes N         3 by default, of a cluster; drawn: 1 to 7, by the seed
  --devices N       10 by default, two of each user
  --faults LIST     all by default that the stores can have; none; or some of those that --help names
  --fault-every MS  about so long between two faults, 3000 by default
  --trace FILE      writes every event, one a line
  --json            prints each outcome as a JSON object, one a line`

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '2' },
    stores: { type: 'string', default: 'cluster' },
    nodes: { type: 'string', default: '3' },
    devices: { type: 'string', default: '10' },
    faults: { type: 'string', default: 'all' },
    'fault-every': { type: 'string', default: '3000' },
    trace: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const { faultNames } = await import('./faults.js')
const { nodesOf, plannedStores } = await import('./plan.js')
const { simulate } = await import('./simulate.js')
if (values.help) {
  console.log(`${usage}\n\nFaults: ${faultNames.join(', ')}`)
  process.exit()
}

const plan = {
  seed: integer('seed', 0),
  minutes: number('minutes'),
  stores: storesOf(values.stores),
  devices: integer('devices', 1),
  faults: faultsOf(values.faults),
  faultEveryMs: integer('fault-every', 1),
}

const count = integer('count', 1)
const file = values.trace === undefined ? undefined : openSync(values.trace, 'w')
const write = file === undefined ? undefined : (line: string) => { writeSync(file, `${line}\n`) }
let broken = 0
for (let seed = plan.seed; seed < plan.seed + count; seed++) {
  const began = cpuSeconds()
  const nodes = values.nodes === 'drawn' ? nodesOf(seed) : integer('nodes', 1)
  const outcome = await simulate(world, network, { ...plan, seed, nodes }, new Trace(write))
  if (values.json) console.log(JSON.stringify(outcome, bigintAsText))
  else print(outcome, cpuSeconds() - began)
  if (outcome.violations.length > 0) broken++
}
if (file !== undefined) closeSync(file)
process.exit(broken === 0 ? 0 : 1)

function bigintAsText (_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function print (outcome: Outcome, seconds: number): void {
  const { seed, violations, last, hash, events, virtualMs, faults, told, sent, pushed, posted, logged } = outcome
  const verdict = violations.length === 0 ? 'all was well' : `${violations.length} promises were broken`
  console.log(`seed ${seed}: ${verdict}`)
  for (const violation of violations) console.log(`  ${violation}`)
  for (const line of last) console.log(`    ${line}`)
  console.log(`  ${sent} uplinks, ${pushed} downlinks and ${posted} posts of business; faults: ${counted(faults)}`)
  console.log(`  clients were told: ${counted(told)}`)
  for (const [text, count] of Object.entries(logged)) console.log(`  logged ${count} times: ${text}`)
  const virtual = virtualMs / 1000
  const cost = `${seconds.toFixed(1)} of a core: ${(virtual / seconds).toFixed(1)} a second`
  console.log(`  ${events} events, ${Math.round(virtual)} virtual seconds in ${cost}`)
  console.log(`  ${hash}`)
}

function counted (counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', ') || 'nothing'
}

function number (name: keyof typeof values): number {
  const value = Number(values[name])
  if (!(value > 0) && value !== 0) fail(`--${name}: got ${String(values[name])}, want a number`)
  return value
}

function integer (name: keyof typeof values, min: number): number {
  const value = number(name)
  if (!Number.isSafeInteger(value) || value < min) fail(`--${name}: got ${value}, want an integer from ${min} on`)
  return value
}

function storesOf (name: string): PlannedStores {
  if (!(plannedStores as readonly string[]).includes(name)) fail(`--stores: got ${name}, want ${plannedStores.join(' or ')}`)
  return name as PlannedStores
}

function faultsOf (list: string): FaultName[] {
  if (list === 'all') return faultNames
  if (list === 'none') return []
  return list.split(',').map(name => {
    if (!(faultNames as string[]).includes(name)) fail(`--faults: got ${name}, want some of ${faultNames.join(', ')}`)
    return name as FaultName
  })
}

function fail (message: string): never {
  console.error(message)
  process.exit(2)
}
