import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { openRoutes, routesOf, routing, routingKey } from '../../projections/routing.js'
import { closed, opened, story, uplink, withRepeats } from './given.js'
import { followedBy } from './followed-by.js'

async function all<T> (items: AsyncIterable<T>): Promise<T[]> {
  const found = []
  for await (const item of items) found.push(item)
  return found
}

t.test('ConnectionOpened', async t => {
  t.test('puts the route under the user, by connection', async t => {
    t.strictSame([...routing.project(opened('ann', 'c1', { nodeEpoch: 7 }))], [{
      type: 'put',
      key: 'user:ann',
      field: 'c1',
      value: { nodeId: 'n1', nodeEpoch: 7, platform: 'ios', deviceId: 'phone' },
    }])
  })
})

t.test('ConnectionClosed', async t => {
  t.test('removes the route of that connection, not the newer one of the same device', async t => {
    const { tables } = await followedBy([routing], [[opened('ann', 'c1'), opened('ann', 'c2')], [closed('ann', 'c1')]])
    const routes = routesOf(await tables.get('routing', 0, routingKey('ann')))
    t.strictSame(routes, [{ connectionId: 'c2', nodeId: 'n1', nodeEpoch: 1, platform: 'ios', deviceId: 'phone' }])
  })

  t.test('leaves no row behind when it was the only one', async t => {
    const { tables } = await followedBy([routing], [[opened('ann', 'c1'), closed('ann', 'c1')]])
    t.strictSame(Object.keys(tables.dump('routing')), ['0/closed:0'])
  })
})

t.test('an entry about anything else does not concern it', async t => {
  t.equal(routing.concerns(uplink('ann', 'c1')), false)
})

t.test('any order of opens and closes, with any repeats', async t => {
  t.test('gives a route to each connection that opened and never closed', async t => {
    await fc.assert(fc.asyncProperty(withRepeats(story), async ({ items, blocks }) => {
      const { tables } = await followedBy([routing], blocks)
      const open = new Set<string>()
      for (const { userId, fact } of items) {
        if (fact.type === 'ConnectionOpened') open.add(`${userId}/${fact.connectionId}/${fact.nodeId}`)
        if (fact.type === 'ConnectionClosed') for (const id of open) if (id.includes(fact.connectionId)) open.delete(id)
      }
      const routes = Object.entries(tables.dump('routing')).flatMap(([key, fields]) => {
        const [, userId] = key.split('/user:')
        return userId ? Object.entries(fields).map(([id, { nodeId }]) => `${userId}/${id}/${nodeId}`) : []
      })
      assert.deepEqual(routes.sort(), [...open].sort())
    }))
  })
})

t.test('openRoutes', async t => {
  t.test('has those of each node and epoch, whoever the user is', async t => {
    const { tables } = await followedBy([routing], [[
      opened('ann', 'c1', { nodeId: 'n1', nodeEpoch: 1 }),
      opened('ann', 'c2', { nodeId: 'n2', nodeEpoch: 1 }),
      opened('bob', 'c3', { nodeId: 'n1', nodeEpoch: 2 }),
      opened('cleo', 'c4', { nodeId: 'n1', nodeEpoch: 3 }),
      closed('dan', 'c5'),
    ]])
    const ofNode = (await all(openRoutes(tables.scan('routing')))).filter(({ nodeId }) => nodeId === 'n1')
    t.strictSame(ofNode.filter(({ nodeEpoch }) => nodeEpoch <= 2)
      .map(({ partition, userId, connectionId, nodeEpoch }) => ({ partition, userId, connectionId, nodeEpoch })), [
      { partition: 0, userId: 'ann', connectionId: 'c1', nodeEpoch: 1 },
      { partition: 0, userId: 'bob', connectionId: 'c3', nodeEpoch: 2 },
    ])
    t.equal(ofNode.length, 3)
  })
})
