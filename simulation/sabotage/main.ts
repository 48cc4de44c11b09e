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
async function find (mutation: Mutation, seedsMax: number): Promise<{ seed: number, violation: string } | undefined> {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const [violation] = await violationsOf(mutation, seed)
    if (violation !== undefined) return { seed, violation: violation.split('\n')[0]!.slice(0, 160) }
  }
  return undefined
}

/** Of one run with the defect. */
async function violationsOf ({ name }: Mutation, seed: number): Promise<readonly string[]> {
  const options = ['--seed', String(seed), '--minutes', '2']
  return (await simulateInProcess(options, ['--import', register], { LEDGERLINE_SABOTAGE: name })).violations
}
