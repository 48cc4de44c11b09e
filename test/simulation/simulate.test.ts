import t from 'tap'
import { simulateInProcess } from '../../simulation/process.js'
import { keepsItsPromises, seeds } from './seeds.js'

/* Seeds of more than a minute are in seeds.long.ts. */

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

  for (const seed of seeds.filter(({ minutes }) => minutes <= 1)) await keepsItsPromises(t, seed)
})
