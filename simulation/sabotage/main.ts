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
  console.log('| Defect | Found by seed | As |\n| --- | --- | --- |')
  for (const mutation of mutations.filter(({ name }) => names.includes(name))) {
    const found = await find(mutation, seedsMax)
    if (!found) process.exitCode = 1
    console.log(`| ${mutation.defect} | ${found?.seed ?? `none of ${seedsMax}`} | ${found?.violation ?? ''} |`)
  }
}

/** The first seed that breaks a promise, and the promise. */
async function find ({ name }: Mutation, seedsMax: number): Promise<{ seed: number, violation: string } | undefined> {
  const options = ['--seed', '1', '--count', String(seedsMax), '--minutes', '2']
  const runs = simulateInProcess(options, { node: ['--import', register], env: { LEDGERLINE_SABOTAGE: name } })
  for await (const { seed, violations: [violation] } of runs) {
    if (violation !== undefined) return { seed, violation: violation.split('\n')[0]!.slice(0, 160) }
  }
  return undefined
}
