/* `npm run simulate:night`: seeds, one after the other, until it is stopped; what fails is made smaller. */
import { parseArgs } from 'node:util'
import { faultNames } from './faults.js'
import { optionsOf, type Shape, simulateInProcess, simulateOnce } from './process.js'
import { shrink } from './shrink.js'
import { nodesOf } from './plan.js'
import type { Outcome } from './simulate.js'

const usage = `Usage: npm run simulate:night -- [options]

  --from N      the first seed, 1 by default
  --count N     how many; without it, until it is stopped
  --jobs N      processes at once, 1 by default
  --minutes N, --nodes N, --devices N, --fault-every MS   as of npm run simulate; 4, drawn, 10, 3000 by default`

/** A process begins anew after so many, for nobody looks at what it keeps of worlds that are gone. */
const seedsPerProcess = 50

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: 'Infinity' },
    jobs: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '4' },
    nodes: { type: 'string', default: 'drawn' },
    devices: { type: 'string', default: '10' },
    'fault-every': { type: 'string', default: '3000' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(usage)
else await runAll()

async function runAll (): Promise<void> {
  const first = Number(values.from)
  const end = first + Number(values.count)
  const shape: Shape = {
    stores: 'drawn',
    minutes: Number(values.minutes),
    nodes: values.nodes === 'drawn' ? 'drawn' : Number(values.nodes),
    devices: Number(values.devices),
    faultEveryMs: Number(values['fault-every']),
    faults: faultNames,
  }
  let next = first
  let [runs, virtualMs, failed] = [0, 0, 0]
  const tellAll = (): void => {
    console.log(`${runs} seeds, ${(virtualMs / 3_600_000).toFixed(1)} virtual hours, ${failed} failed`)
  }
  const done = ({ virtualMs: ms, violations }: Outcome): void => {
    virtualMs += ms
    if (violations.length > 0) failed++
    if (++runs % 10 === 0) tellAll()
  }
  const work = async (): Promise<void> => {
    while (next < end) {
      let seed = next
      next = Math.min(end, seed + seedsPerProcess)
      for (const last = next; seed < last;) {
        const broken = await firstBroken(seed, last - seed, shape, done)
        if (!broken) break
        await tell(shape, broken)
        seed = broken.seed + 1
      }
    }
  }
  await Promise.all(Array.from({ length: Number(values.jobs) }, work))
  tellAll()
  if (failed > 0) process.exitCode = 1
}

/**
 * So many seeds in one process, up to the first that breaks a promise.
 *
 * @param done told of each, of that one too
 */
async function firstBroken (
  first: number, count: number, shape: Shape, done: (outcome: Outcome) => void
): Promise<Outcome | undefined> {
  let seed = first
  try {
    for await (const outcome of simulateInProcess([...optionsOf(first, shape), '--count', String(count)])) {
      done(outcome)
      if (outcome.violations.length > 0) return outcome
      seed = outcome.seed + 1
    }
    return undefined
  } catch (err) {
    const ended = endedOf(seed, err as Error)
    done(ended)
    return ended
  }
}

/** Of a run that ended its process. */
function endedOf (seed: number, { message }: Error): Outcome {
  const violations = [`the process ended: ${message}`]
  return {
    seed,
    violations,
    last: [],
    hash: '',
    events: 0,
    virtualMs: 0,
    faults: {},
    told: {},
    sent: 0,
    pushed: 0,
    posted: 0,
    books: undefined,
    logged: {},
  }
}

async function tell (shape: Shape, outcome: Outcome): Promise<void> {
  const { seed } = outcome
  console.log(`seed ${seed} failed:`)
  printViolations(outcome)
  const small = await shrink({ shape: { ...shape, nodes: shape.nodes === 'drawn' ? nodesOf(seed) : shape.nodes }, outcome }, async shape =>
    await simulateOnce(optionsOf(seed, shape)).catch((err: Error) => endedOf(seed, err)))
  console.log('  the smallest world in which a promise is broken:')
  printViolations(small.outcome)
  for (const line of small.outcome.last) console.log(`    ${line}`)
  console.log(`  npm run simulate -- ${optionsOf(seed, small.shape).join(' ')}`)
}

function printViolations ({ violations }: Outcome): void {
  for (const violation of violations.slice(0, 5)) console.log(`  ${violation}`)
}
