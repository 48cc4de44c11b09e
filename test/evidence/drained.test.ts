import t from 'tap'
import { surroundingsOf } from '../../evidence/surroundings.js'
import type { NodeEntry } from '../../schemas/node-facts.js'
import { StoredLog } from './stored-log.js'

t.test('The drain of a node that an operator asked for', async t => {
  const stored = await StoredLog.open(t)
  const asked = (atMs: number, percent: number, by: string, more: Partial<NodeEntry> = {}): NodeEntry => ({
    nodeId: 'n1',
    epoch: 1,
    atMs,
    fact: { type: 'NodeDrainRequested', drainId: `d${atMs}`, percent, withinMs: 1, by, reason: `why ${by}` },
    ...more,
  })
  await stored.node(
    asked(100, 30, 'k1'), asked(200, 100, 'k2'), asked(300, 0, 'k3'), asked(400, 100, 'k4', { nodeId: 'n2' }),
    asked(500, 100, 'k5', { epoch: 2 })
  )
  const { drainOf } = await surroundingsOf(stored.log, 'ann', 1_000)
  const at = async (atMs: number, nodeId = 'n1', epoch = 1) => (await drainOf(nodeId, epoch, atMs))?.by

  t.test('is the last one before, until that is ended, of this start of the node', async t => {
    t.strictSame(await Promise.all([50, 150, 250, 350, 900].map(atMs => at(atMs))), [undefined, 'k1', 'k2', undefined, undefined])
    t.strictSame([await at(450, 'n2'), await at(450, 'n3'), await at(600, 'n1', 2)], ['k4', undefined, 'k5'])
    t.strictSame(await drainOf('n1', 1, 250), { by: 'k2', reason: 'why k2' })
  })
})
