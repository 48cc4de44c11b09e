import t from 'tap'
import { alive, connected, type Dialect } from './edge/dialects.js'
import { startTestNode, until } from './node.js'

const room = '/v1/rooms/chat%3A7'

t.test('A room of business services', async t => {
  const node = await startTestNode(t)
  const post = async (body: object) => await node.request('POST', `${room}/posts`, body)
  /** Whoever knows may be late on a busy machine: then the answer is of one who does not know. */
  const answered = async (status: string, body: object, path = room) => {
    await until(`it is ${status}`, async () =>
      ((await node.request('POST', `${path}/posts`, body)).json as any).status === status)
  }
  const look = async (path: string): Promise<any> => await until(`${path} is answered`, async () => {
    const { status, json } = await node.request('GET', path)
    return status === 200 && json
  })
  const inRoom = async (dialect: Dialect, userId: string) => {
    const { client } = await connected(t, node, dialect, userId)
    t.equal((await node.request('PUT', `/v1/users/${userId}/rooms/chat%3A7`, { rights: 'rw' })).status, 202)
    t.match(await client.next(), { op: 'joined', roomId: 'chat:7' }, `${userId} joins without asking`)
    return client
  }

  await t.test('has members who are put into it, and get what is posted, in order, each once', async t => {
    const ann = await inRoom('WebSocket JSON', 'ann')
    const bob = await inRoom('TCP', 'bob')
    t.match(await post({ messageId: 'm1', payload: 'first', service: 'chat' }), { status: 202, json: { messageId: 'm1', status: 'queued' } })
    await until('it is taken', async () => (await look(room)).roomSeq === 1)
    await answered('duplicate', { messageId: 'm1', payload: 'first', service: 'chat' })
    await answered('conflict', { messageId: 'm1', payload: 'other' })
    t.match((await post({ messageId: 'm2', payload: 'second' })).json, { status: 'queued' })
    for (const client of [ann, bob]) {
      t.match(await client.next(), { op: 'post', roomSeq: 1, messageId: 'm1', from: '', service: 'chat' })
      t.match(await client.next(), { op: 'post', roomSeq: 2, messageId: 'm2' })
    }
    t.match(await look(room), {
      roomSeq: 2, closed: false, members: 2, nodes: [{ nodeId: 'n1', members: 2 }],
    })
    const { members, total, next } = await look(`${room}/members?limit=1`)
    t.match({ total, count: members.length }, { total: 2, count: 1 })
    const second = await look(`${room}/members?limit=1&after=${next}`)
    t.strictSame([members[0].userId, second.members[0].userId].toSorted(), ['ann', 'bob'])

    t.match((await post({ payload: 'typing', delivery: 'signal' })).json, { status: 'sent' })
    for (const client of [ann, bob]) t.match(await client.next(), { op: 'signal', roomId: 'chat:7' })

    t.equal((await node.request('DELETE', '/v1/users/bob/rooms/chat%3A7')).status, 202)
    t.match(await bob.next(), { op: 'left', roomId: 'chat:7', code: 'forbidden' })
    await alive(t, bob)
  })

  await t.test('has its posts in the stream, and is joined again at the next connect', async t => {
    const posts = await until('they are published', async () => {
      const { text } = await node.request('GET', `${room}/posts`)
      const lines = text.split('\n').filter(line => line !== '').map(line => JSON.parse(line))
      return lines.length === 2 && lines
    })
    t.match(posts, [{ roomSeq: 1, messageId: 'm1', from: null, payload: 'first' }, { roomSeq: 2, payload: 'second' }])
    const { client } = await connected(t, node, 'WebSocket Avro', 'ann', { deviceId: 'tablet' })
    t.match(await client.next(), { op: 'joined', roomId: 'chat:7', roomSeq: 2 })
  })

  await t.test('that is closed takes nothing, and its members are told', async t => {
    const cy = await inRoom('WebSocket JSON', 'cy')
    t.match(await node.request('DELETE', `${room}?reason=over`), { status: 202, json: { position: String } })
    t.match(await cy.next(), { op: 'left', code: 'room-closed', reason: 'over' })
    await until('posts are refused', async () => {
      const { status, json } = await post({ payload: 'late' })
      return status === 410 && (json as any).code === 'room-closed'
    })
    await until('it was closed before', async () => ((await node.request('DELETE', room)).json as any).position === null)
  })

  await t.test('without members takes posts, and a signal reaches nobody', async t => {
    t.match((await node.request('POST', '/v1/rooms/empty/posts', { payload: 'x' })).json, { status: 'queued' })
    await answered('offline', { payload: 'x', delivery: 'signal' }, '/v1/rooms/empty')
  })
})
