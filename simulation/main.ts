/* `npm run simulate`: a whole cluster in one process and in virtual time, from one seed (docs/simulation.md). */
import { network, realMs, world } from './preload.js'
import { closeSync, openSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { FaultName } from './faults.js'
import { Trace } from './trace.js'

const usage = `Usage: npm run simulate -- [options]

  --seed N          1 by default; the same seed does the same
  --minutes N       of virtual time with traffic, 2 by default
  --nodes N         3 by default
  --devices N       10 by default, two of each user
  --faults LIST     all by default; none; or some of those that --help names
  --fault-every MS  about so long between two faults, 3000 by default
  --trace FILE      writes every event, one a line
  --json            prints the outcome as one JSON object`

/** Events that are printed of a run that went wrong. */
const lastLines = 30

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '2' },
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
if (values.help) {
  console.log(`${usage}\n\nFaults: ${faultNames.join(', ')}`)
  process.exit()
}

const plan = {
  seed: integer('seed', 0),
  minutes: number('minutes'),
  nodes: integer('nodes', 1),
  devices: integer('devices', 1),
  faults: faultsOf(values.faults),
  faultEveryMs: integer('fault-every', 1),
}

const file = values.trace === undefined ? undefined : openSync(values.trace, 'w')
const trace = new Trace(file === undefined ? undefined : line => { writeSync(file, `${line}\n`) })
const { simulate } = await import('./simulate.js')
const beganMs = realMs()
const outcome = await simulate(world, network, plan, trace)
const seconds = (realMs() - beganMs) / 1000
if (file !== undefined) closeSync(file)

if (values.json) console.log(JSON.stringify(outcome, (_key, value) => typeof value === 'bigint' ? String(value) : value as unknown))
else print()
process.exit(outcome.violations.length === 0 ? 0 : 1)

function print (): void {
  const { violations, hash, events, virtualMs, faults, sent, pushed, logged } = outcome
  const happened = Object.entries(faults).map(([name, count]) => `${name} ${count}`).join(', ') || 'none'
  console.log(`seed ${plan.seed}: ${violations.length === 0 ? 'all was well' : `${violations.length} promises were broken`}`)
  for (const violation of violations) console.log(`  ${violation}`)
  if (violations.length > 0) for (const line of trace.last().slice(-lastLines)) console.log(`    ${line}`)
  console.log(`  ${sent} uplinks and ${pushed} downlinks; faults: ${happened}`)
  for (const [text, count] of Object.entries(logged)) console.log(`  logged ${count} times: ${text}`)
  console.log(`  ${events} events, ${Math.round(virtualMs / 1000)} virtual seconds in ${seconds.toFixed(1)}: ` +
    `${(virtualMs / 1000 / seconds).toFixed(1)} times real time`)
  console.log(`  ${hash}`)
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
