import fc from 'fast-check'
import { outboxMax } from '../../../actors/user/state.js'
import type { LoginPolicy } from '../../../schemas/facts.js'
import { minute } from './history.js'
import { devices, longTtlMs, type Step } from './world.js'

// Mostly one device, so that much happens to the same session.
const device = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.nat({ max: devices - 1 }) })
export const policy = fc.constantFrom<LoginPolicy>('device', 'device', 'device', 'platform', 'user', 'none')
const ttlMs = fc.constantFrom(minute, minute, 10 * minute, longTtlMs)

const requests = fc.record({
  do: fc.constant('request' as const),
  count: fc.oneof(
    { weight: 60, arbitrary: fc.integer({ min: 1, max: 4 }) },
    { weight: 1, arbitrary: fc.constant(outboxMax) }),
  ttlMs,
  only: fc.nat({ max: 12 }),
  except: fc.nat({ max: 12 }),
  // Some of the messages of this world, each of which counts for 130 bytes or so.
  bytesMax: fc.constantFrom(0, 0, 0, 300, 1_000),
})
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('connect' as const), device, policy, reinstalled: oneIn(8) }) },
  { weight: 6, arbitrary: requests },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('read' as const), device, frames: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const), device, uplinks: fc.nat({ max: 3 }) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('ack', 'ack', 'skip', 'report', 'report', 'refill', 'lose'), device }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('drop' as const), device, late: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), device, endSession: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('kick', 'refuse'), device }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('redeliver' as const), device, back: fc.nat({ max: 5 }), again: oneIn(3), ttlMs,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('crash', 'recordEnds', 'restore') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1_000, 2 * minute, 20 * minute) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('repeat' as const), back: fc.nat({ max: 60 }), length: fc.integer({ min: 1, max: 8 }) }),
  })
/** Anything that may happen in a world. */
export const story = fc.array(step, { minLength: 1, maxLength: 120, size: 'max' })

function oneIn (n: number): fc.Arbitrary<boolean> { return fc.nat({ max: n - 1 }).map(i => i === 0) }

/** A failure throws with the seed and the shortest story that fails. */
export function holds<T> (arbitrary: fc.Arbitrary<T>, check: (value: T) => void, numRuns = 400): void {
  fc.assert(fc.property(arbitrary, check), { numRuns })
}
