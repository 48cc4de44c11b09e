import t from 'tap'
import { simulateInProcess, simulateOnce } from '../../simulation/process.js'
import { keepsItsPromises, seeds } from './seeds.js'

/* Seeds of more than a minute are in seeds.long.ts. */

t.test('A simulated cluster', async t => {
  await t.test('does the same for the same seed, event by event, whatever ran before it in its process', async t => {
    const options = ['--minutes', '0.5', '--nodes', '2', '--devices', '4']
    const once = await simulateOnce([...options, '--seed', '7'])
    const again = await simulateOnce([...options, '--seed', '7'])
    t.strictSame(again, once)
    t.ok(once.events > 1_000)
    const inOneProcess = []
    for await (const outcome of simulateInProcess([...options, '--seed', '6', '--count', '3'])) inOneProcess.push(outcome)
    t.strictSame(inOneProcess.map(({ seed }) => seed), [6, 7, 8])
    t.strictSame(inOneProcess[1], once)
    t.equal(new Set(inOneProcess.map(({ hash }) => hash)).size, 3, 'another seed does something else')
  })

  for (const seed of seeds.filter(({ minutes }) => minutes <= 1)) await keepsItsPromises(t, seed)
})
