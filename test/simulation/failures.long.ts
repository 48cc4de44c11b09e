import t from 'tap'
import { simulateInProcess } from '../../simulation/process.js'
import { failures } from '../../simulation/sabotage/failures.js'

const register = new URL('../../simulation/sabotage/register.js', import.meta.url).href
const options = ['--seed', '1', '--count', '3', '--minutes', '2']

t.test('A node keeps its promises', async t => {
  for (const { name, defect } of failures) {
    await t.test(`where ${defect}`, async t => {
      let failed = 0
      const runs = simulateInProcess(options, { node: ['--import', register], env: { LEDGERLINE_SABOTAGE: name } })
      for await (const { seed, violations, logged } of runs) {
        t.strictSame(violations, [], `seed ${seed}`)
        for (const [text, count] of Object.entries(logged)) if (text.endsWith('a defect')) failed += count
      }
      t.ok(failed > 3, `it failed ${failed} times`)
    })
  }
})
