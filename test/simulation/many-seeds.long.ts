import t from 'tap'
import { simulateInProcess } from '../../simulation/process.js'

const seeds = 200
/** Two cores, a process on each. */
const processes = 2

t.test(`The first ${seeds} simulated clusters keep their promises for two minutes of traffic`, async t => {
  const each = seeds / processes
  await Promise.all(Array.from({ length: processes }, async (_, i) => {
    const options = ['--seed', String(1 + i * each), '--count', String(each), '--minutes', '2']
    let runs = 0
    for await (const { seed, violations } of simulateInProcess(options)) {
      t.strictSame(violations, [], `seed ${seed}`)
      runs++
    }
    t.equal(runs, each, 'all have run')
  }))
})
