/* `npm run simulate:night`: seeds, one after the other, until it is stopped; what fails is made smaller. */
import { parseArgs } from 'node:util'
import { type FaultName, faultNames } from './faults.js'
import { simulateInProcess } from './process.js'

const usage = `Usage: npm run simulate:night -- [options]

  --from N      the first seed, 1 by default
  --count N     how many; without it, until it is stopped
  --jobs N      processes at once, 1 by default
  --minutes N, --nodes N, --devices N, --fault-every MS   as of npm run simulate; 4, 3, 10, 3000 by default`

interface Shape {
  readonly minutes: number
  readonly nodes: number
  readonly devices: number
  readonly faultEveryMs: number
  readonly faults: readonly FaultName[]
}

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: 'Infinity' },
    jobs: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '4' },
    nodes: { type: 'string', default: '3' },
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
    minutes: Number(values.minutes),
    nodes: Number(values.nodes),
    devices: Number(values.devices),
    faultEveryMs: Number(values['fault-every']),
    faults: faultNames,
  }
  let seed = first
  let [runs, virtualMs, failed] = [0, 0, 0]
  const tellAll = (): void => {
    console.log(`${runs} seeds, ${(virtualMs / 3_600_000).toFixed(1)} virtual hours, ${failed} failed`)
  }
  const work = async (): Promise<void> => {
    while (seed < end) {
      const mine = seed++
      const { violations, virtualMs: ms } = await simulateInProcess(optionsOf(mine, shape))
      runs++
      virtualMs += ms
      if (violations.length > 0) {
        failed++
        await tell(mine, shape, violations)
      }
      if (runs % 10 === 0) tellAll()
    }
  }
  await Promise.all(Array.from({ length: Number(values.jobs) }, work))
  tellAll()
  if (failed > 0) process.exitCode = 1
}

async function tell (seed: number, shape: Shape, violations: readonly string[]): Promise<void> {
  console.log(`seed ${seed} failed:`)
  for (const violation of violations.slice(0, 5)) console.log(`  ${violation}`)
  const small = await smaller(seed, shape)
  console.log(`  npm run simulate -- ${optionsOf(seed, small).join(' ')}`)
}

/** The smallest world that was found in which the seed still breaks a promise: which one, does not count. */
async function smaller (seed: number, shape: Shape): Promise<Shape> {
  let best = shape
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false
    for (const candidate of candidatesOf(best)) {
      const { violations } = await simulateInProcess(optionsOf(seed, candidate))
      if (violations.length === 0) continue
      best = candidate
      isSmaller = true
      break
    }
  }
  return best
}

function candidatesOf (shape: Shape): Shape[] {
  const { minutes, nodes, devices, faults } = shape
  return [
    ...minutes > 0.5 ? [{ ...shape, minutes: minutes / 2 }] : [],
    ...devices > 1 ? [{ ...shape, devices: Math.ceil(devices / 2) }] : [],
    ...nodes > 1 ? [{ ...shape, nodes: nodes - 1 }] : [],
    ...faults.length > 1 ? faults.map(name => ({ ...shape, faults: faults.filter(other => other !== name) })) : [],
  ]
}

function optionsOf (seed: number, { minutes, nodes, devices, faultEveryMs, faults }: Shape): string[] {
  const all = { seed, minutes, nodes, devices, 'fault-every': faultEveryMs, faults: faults.join() }
  return Object.entries(all).flatMap(([name, value]) => [`--${name}`, String(value)])
}
