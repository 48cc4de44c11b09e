import t from 'tap'
import { cannotMount, fullDiskFaults } from './full-disk.js'
import { killedFaults } from './killed.js'
import { meetAll } from './met.js'
import { metFaults } from './met-faults.js'
import { confusionTable, type Judged } from './planted.js'

const times = 3

t.test('A trace names what real clients and kills have done', async t => {
  const judged: Judged[] = []
  await t.test('to messages of gateways that run', async t => {
    for (const { environment, faults } of metFaults) judged.push(...await meetAll(t, environment, faults, times))
  })
  await t.test('to messages of gateways that were killed', async t => {
    judged.push(...await killedFaults(t, t.testdir()))
  })
  await t.test('to messages of a gateway whose disk was full', { skip: cannotMount() }, async t => {
    judged.push(...await fullDiskFaults(t))
  })
  for (const line of confusionTable(judged)) t.comment(line)
  t.comment(`${judged.length} messages in ${new Set(judged.map(({ fault }) => fault)).size} ways`)
  const wrong = judged.filter(({ found, expected }) => found !== expected)
  t.strictSame(wrong.slice(0, 20), [], 'none is off the diagonal')
})
