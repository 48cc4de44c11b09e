import type { Outcome } from './simulate.js'
import type { Shape } from './process.js'

const minutesMin = 0.5
const faultEveryMsMax = 60_000

/** A world, and what came of it. */
export interface Tried { readonly shape: CountedShape, readonly outcome: Outcome }

/** With so many nodes. */
export interface CountedShape extends Shape { readonly nodes: number }

/**
 * The smallest world that is found in which a promise is still broken: which one, does not count. Another world is
 * another history, so each step is taken anew from what was found last, until none of them breaks anything.
 *
 * @param found in which one is broken
 * @param run of this shape, with the same seed
 */
export async function shrink (found: Tried, run: (shape: CountedShape) => Promise<Outcome>): Promise<Tried> {
  let best = found
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false
    for (const shape of smallerThan(best.shape)) {
      const outcome = await run(shape)
      if (outcome.violations.length === 0) continue
      best = { shape, outcome }
      isSmaller = true
      break
    }
  }
  return best
}

/** What takes most away first. */
function smallerThan (shape: CountedShape): CountedShape[] {
  const { minutes, nodes, devices, faults, faultEveryMs } = shape
  const half = Math.ceil(faults.length / 2)
  return [
    ...minutes / 2 >= minutesMin ? [{ ...shape, minutes: minutes / 2 }] : [],
    ...devices > 1 ? [{ ...shape, devices: Math.ceil(devices / 2) }] : [],
    ...devices > 2 ? [{ ...shape, devices: devices - 1 }] : [],
    ...nodes > 1 ? [{ ...shape, nodes: nodes - 1 }] : [],
    ...faults.length > 3 ? [{ ...shape, faults: faults.slice(half) }, { ...shape, faults: faults.slice(0, half) }] : [],
    ...faults.map(name => ({ ...shape, faults: faults.filter(other => other !== name) })),
    ...faultEveryMs * 2 <= faultEveryMsMax ? [{ ...shape, faultEveryMs: faultEveryMs * 2 }] : [],
  ]
}
