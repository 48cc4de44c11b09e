import t from 'tap'
import { keepsItsPromises, seeds } from './seeds.js'

t.test('A simulated cluster', async t => {
  for (const seed of seeds.filter(({ minutes }) => minutes > 1)) await keepsItsPromises(t, seed)
})
