import t from 'tap'
import { simulateInProcess } from '../../simulation/process.js'

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

  for (const seed of ['1', '2', '3']) {
    await t.test(`keeps its promises, whatever goes wrong: seed ${seed}`, async t => {
      const { violations, sent, pushed, faults } = await simulateInProcess(['--seed', seed, '--minutes', '1', '--devices', '6'])
      t.strictSame(violations, [])
      t.ok(sent > 20 && pushed > 10, 'with traffic')
      t.ok(Object.keys(faults).length > 3, 'and faults')
    })
  }
})
