import { readFileSync } from 'node:fs'
import t from 'tap'
import { simulateInProcess } from '../../simulation/process.js'

interface Seed { readonly seed: number, readonly minutes: number, readonly was: string }

/** Each has found something once; what has changed since may have led it elsewhere, for better or worse. */
const seeds = JSON.parse(
  readFileSync(new URL('../../../test/simulation/seeds.json', import.meta.url), 'utf8')) as readonly Seed[]

t.test('A simulated cluster', async t => {
  await t.test('does the same for the same seed, event by event, and something else for another one', async t => {
    const options = ['--minutes', '0.5', '--nodes', '2', '--devices', '4']
    const once = await simulateInProcess([...options, '--seed', '7'])
    const again = await simulateInProcess([...options, '--seed', '7'])
    const other = await simulateInProcess([...options, '--seed', '8'])
    t.strictSame(again, once)
    t.not(other.hash, once.hash)
    t.ok(once.events > 1_000)
  })

  for (const { seed, minutes, was } of seeds) {
    await t.test(`keeps its promises with seed ${seed}, which found: ${was}`, async t => {
      const { violations, sent, pushed, faults } = await simulateInProcess(['--seed', `${seed}`, '--minutes', `${minutes}`])
      t.strictSame(violations, [])
      t.ok(sent > 100 && pushed > 20, 'with traffic')
      t.ok(Object.keys(faults).length > 5, 'and faults')
    })
  }
})
