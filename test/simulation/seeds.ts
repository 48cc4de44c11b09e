import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { simulateOnce } from '../../simulation/process.js'

interface Seed {
  readonly seed: number
  readonly minutes: number
  readonly stores?: string
  readonly devices?: number
  readonly was: string
}

/** Each has found something once; what has changed since may have led it elsewhere, for better or worse. */
export const seeds = JSON.parse(
  readFileSync(new URL('../../../test/simulation/seeds.json', import.meta.url), 'utf8')) as readonly Seed[]

export async function keepsItsPromises (
  t: Test, { seed, minutes, stores = 'cluster', devices = 10, was }: Seed
): Promise<void> {
  await t.test(`keeps its promises with seed ${seed}, which found: ${was}`, async t => {
    const { violations, sent, pushed, faults } =
      await simulateOnce(['--seed', `${seed}`, '--minutes', `${minutes}`, '--stores', stores, '--devices', `${devices}`])
    t.strictSame(violations, [])
    t.ok(sent > 100 && pushed > 20, 'with traffic')
    t.ok(Object.keys(faults).length > 5, 'and faults')
  })
}
