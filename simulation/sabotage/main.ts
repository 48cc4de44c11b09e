/* `npm run simulate:sabotage`: how many seeds it takes until the simulation finds each of some defects. */
import { parseArgs } from 'node:util'
import { simulateInProcess } from '../process.js'
import { type Mutation, mutations } from './mutations.js'

const register = new URL('register.js', import.meta.url).href

const usage = `Usage: npm run simulate:sabotage -- [options]

  --seeds N    at most so many for each defect, 300 by default
  --only LIST  of ${mutations.map(({ name }) => name).join(', ')}`

const { values: { seeds, only, help } } = parseArgs({
  options: {
    seeds: { type: 'string', default: '300' },
    only: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

if (help) console.log(usage)
else await findAll(only?.split(',') ?? mutations.map(({ name }) => name), Number(seeds))

async function findAll (names: readonly string[], seedsMax: number): Promise<void> {
  console.log('| Defect | Found by seed | Virtual minutes | As |\n| --- | --- | --- | --- |')
  for (const mutation of mutations.filter(({ name }) => names.includes(name))) {
    const { seed, virtualMs, violation } = await find(mutation, seedsMax)
    if (violation === undefined) process.exitCode = 1
    const by = violation === undefined ? `none of ${seedsMax}` : seed
    console.log(`| ${mutation.defect} | ${by} | ${(virtualMs / 60_000).toFixed(0)} | ${violation ?? ''} |`)
  }
}

interface Found {
  readonly seed: number
  /** Of all seeds that were run. */
  readonly virtualMs: number
  /** Undefined where none of them broke a promise. */
  readonly violation: string | undefined
}

/** Runs seeds up to the first that breaks a promise. */
async function find ({ name }: Mutation, seedsMax: number): Promise<Found> {
  const options = ['--seed', '1', '--count', String(seedsMax), '--minutes', '2']
  const runs = simulateInProcess(options, { node: ['--import', register], env: { LEDGERLINE_SABOTAGE: name } })
  let virtualMs = 0
  for await (const { seed, virtualMs: ms, violations: [violation] } of runs) {
    virtualMs += ms
    if (violation !== undefined) return { seed, virtualMs, violation: violation.split('\n')[0]!.slice(0, 160) }
  }
  return { seed: seedsMax, virtualMs, violation: undefined }
}
