import { join } from 'node:path'
import t from 'tap'
import { confusionTable } from './planted.js'
import { tellAll, tellForgotten } from './told.js'

const seed = Number(process.env['LEDGERLINE_TEST_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
t.comment(`LEDGERLINE_TEST_SEED=${seed} tells the same stories again`)

t.test('A trace names what was done to each of 1,000 messages', async t => {
  const directory = t.testdir({ kept: {}, deleted: {} })
  const judged = [
    ...await tellAll(t, join(directory, 'kept'), seed, 20),
    ...await tellForgotten(t, join(directory, 'deleted'), 20),
  ]
  for (const line of confusionTable(judged)) t.comment(line)
  t.ok(judged.length >= 1_000, `${judged.length} messages`)
  const faults = new Set(judged.map(({ fault }) => fault))
  t.ok(faults.size >= 25, `in ${faults.size} ways`)
  const wrong = judged.filter(({ found, expected }) => found !== expected)
  t.strictSame(wrong.slice(0, 20), [], 'none is off the diagonal')
})
