import t from 'tap'
import type { OpenStores } from '../../gateway/startup/base.js'
import { openEmbeddedStores } from '../../gateway/stores-embedded.js'
import type { NodeEntry } from '../../schemas/node-facts.js'
import { nodes } from '../../schemas/streams.js'
import { connected } from './edge/dialects.js'
import { startTestNode } from './node.js'

t.test('A node that has told of its end takes nobody, however long the answer to that takes', async t => {
  let told = () => {}
  const isTold = new Promise<void>(resolve => { told = resolve })
  let answer = () => {}
  const answered = new Promise<void>(resolve => { answer = resolve })
  const open: OpenStores = async (config, logger, _health, timings) => {
    const stores = await openEmbeddedStores(config, logger, timings)
    const append = stores.log.append.bind(stores.log)
    stores.log.append = async (stream, partition, items, options) => {
      const position = await append(stream, partition, items, options)
      if (stream.name === nodes.name && (items as readonly NodeEntry[]).some(({ fact }) => fact.type === 'NodeStopped')) {
        told()
        await answered
      }
      return position
    }
    return stores
  }
  const node = await startTestNode(t, {}, 'error', open)
  await connected(t, node, 'TCP', 'ann')
  const stopped = node.stop()
  await isTold
  await t.rejects(connected(t, node, 'TCP', 'bob'))
  answer()
  await stopped
})
