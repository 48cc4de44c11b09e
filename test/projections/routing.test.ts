import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { connectionOf, connectionsOf, routesOf, routing, routingKey } from '../../projections/routing.js'
import type { IndexedTables } from '../../projections/tables/tables.js'
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

/** Nothing of them is walked over; what is read is told. */
function watched (tables: IndexedTables): { tables: IndexedTables, read: string[] } {
  const read: string[] = []
  return {
    read,
    tables: {
      get (table, partition, key) {
        read.push(key)
        return tables.get(table, partition, key)
      },
      scan () { throw new Error('walked over the table') },
      apply: (...args) => tables.apply(...args),
      position: (...args) => tables.position(...args),
      index: (...args) => tables.index(...args),
    },
  }
}

async function ofMany () {
  const others = Array.from({ length: 500 }, (_, i) => opened(`u${i}`, `x${i}`, { nodeId: 'n3', nodeEpoch: 1 }))
  const { tables } = await followedBy([routing], [[
    opened('ann', 'c1', { nodeId: 'n1', nodeEpoch: 1 }),
    opened('ann', 'c2', { nodeId: 'n2', nodeEpoch: 1 }),
    opened('bob', 'c3', { nodeId: 'n1', nodeEpoch: 2 }),
    opened('cleo', 'c4', { nodeId: 'n1', nodeEpoch: 3 }),
    opened('dan', 'c5', { nodeId: 'n1', nodeEpoch: 1 }),
    closed('dan', 'c5'),
    ...others,
  ]])
  return watched(tables)
}

t.test('connectionsOf', async t => {
  t.test('has those of the wanted nodes and epochs, whoever the user is, and reads no rows of others', async t => {
    const { tables, read } = await ofMany()
    const isWanted = ({ nodeId, nodeEpoch }: { nodeId: string, nodeEpoch: number }) => nodeId === 'n1' && nodeEpoch <= 2
    t.strictSame(await all(connectionsOf(tables, [0], isWanted)), [
      { partition: 0, userId: 'ann', connectionId: 'c1' },
      { partition: 0, userId: 'bob', connectionId: 'c3' },
    ])
    t.strictSame(read, ['nodes', 'node:n1/1', 'node:n1/2'])
  })
})

t.test('connectionOf', async t => {
  t.test('says whose a connection is, by one row of each partition', async t => {
    const { tables, read } = await ofMany()
    t.strictSame(await connectionOf(tables, [0, 1, 2], 'c4'), { partition: 0, userId: 'cleo', connectionId: 'c4' })
    t.equal(read.length, 3)
  })

  t.test('knows none that is closed, or never was', async t => {
    const { tables } = await ofMany()
    t.equal(await connectionOf(tables, [0], 'c5'), undefined)
    t.equal(await connectionOf(tables, [0], 'toString'), undefined)
  })
})
