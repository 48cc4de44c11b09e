import t from 'tap'
import type { Moment } from '../../../evidence/moment.js'
import { GatewayError } from '../../../schemas/errors.js'
import { connected, uplinks, ackedUpTo } from '../edge/dialects.js'
import { startTestNode } from '../node.js'
import { givenApp, key } from './given.js'

t.test('A state', async t => {
  const asked: Array<Moment | undefined> = []
  const { app } = givenApp(t, {
    state: async (userId, at) => {
      asked.push(at)
      if (at?.type === 'position') throw new GatewayError('bad-request', 'another partition')
      return {
        userId,
        asOf: { position: '3@1.0', atMs: 9 },
        knownSince: null,
        userSeq: 7,
        sessions: [],
        connections: [],
        waiting: [],
        memberships: [],
      }
    },
  })
  const get = async (query: string) =>
    await app.inject({ method: 'GET', url: `/v1/users/ann/state${query}`, headers: key })

  await t.test('is of now, or of a time', async t => {
    t.match((await get('')).json(), { userId: 'ann', userSeq: 7, asOf: { position: '3@1.0' }, knownSince: null })
    t.equal((await get('?at=1970-01-01T00:00:01Z')).statusCode, 200)
    t.strictSame(asked, [undefined, { type: 'time', atMs: 1_000 }])
  })
  await t.test('is of a room as well', async t => {
    const view = {
      roomId: 'chat:7',
      asOf: { position: '1@2.0', atMs: 9 },
      knownSince: null,
      roomSeq: 7,
      keptAfter: 6,
      closed: false,
      closeReason: '',
      nodes: [{
        nodeId: 'n1', nodeEpoch: 1, interest: 2, joinedAtMs: 3, deliveredSeq: 7, deliveredAtMs: 8, members: 20, behind: 1, gone: '',
      }],
      posts: [{ roomSeq: 7, messageId: 'ann/1', from: 'ann', service: '', payloadBytes: 3, postedAtMs: 5 }],
    }
    const { app } = givenApp(t, { roomState: async () => view })
    t.strictSame((await app.inject({ url: '/v1/rooms/chat%3A7/state?at=2h', headers: key })).json(), view)
    t.match((await app.inject({ url: '/v1/rooms/r/state?at=2@', headers: key })).json(), { code: 'bad-request' })
  })
  await t.test('of a position elsewhere is a bad request', async t => {
    t.match((await get('?at=3@7')).json(), { statusCode: 400, code: 'bad-request', message: 'another partition' })
  })
  for (const query of ['?at=', '?at=yesterday', '?at=1021', '?when=2h']) {
    await t.test(`asked for with "${query}" is a bad request`, async t => {
      t.match((await get(query)).json(), { statusCode: 400, code: 'bad-request' })
    })
  }
  await t.test('wants an API key', async t => {
    t.equal((await app.inject({ method: 'GET', url: '/v1/users/ann/state' })).statusCode, 401)
  })
})

t.test('The state of a running gateway', async t => {
  await t.test('is what its users have done', async t => {
    const node = await startTestNode(t)
    const { client } = await connected(t, node, 'TCP', 'ann')
    client.sendAll(uplinks(1, 3))
    await ackedUpTo(client, 3)
    await node.push('ann', 'hello', { messageId: 'm1' })
    await client.next()
    const { json } = await node.request('GET', '/v1/users/ann/state')
    t.match(json, {
      userSeq: 3,
      sessions: [{ deviceId: 'phone', nodeId: 'n1', uplinkSeq: 3, nextSeq: 2, outbox: [{ messageId: 'm1', seq: 1 }] }],
    })
    const { asOf: { position } } = json as { asOf: { position: string } }
    const [partition] = position.split('@')
    t.match(await node.request('GET', `/v1/users/ann/state?at=${partition}@0.0`), { status: 200, json: { userSeq: 0 } })
    t.match(await node.request('GET', `/v1/users/ann/state?at=${Number(partition) + 1}@0`), { status: 400 })
  })
})
