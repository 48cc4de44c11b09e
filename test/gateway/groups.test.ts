import t from 'tap'
import type { Test } from 'tap'
import { GroupReaderClient } from './group-reader.js'
import { startTestNode, type TestNode, until } from './node.js'

const rooms = Array.from({ length: 12 }, (_, i) => `room-${i}`)

/** One post in each room. */
async function post (node: TestNode, round: number): Promise<string[]> {
  for (const room of rooms) await node.request('POST', `/v1/rooms/${room}/posts`, { messageId: `${round}`, payload: `${round}` })
  const count = async () => (await node.request('GET', '/v1/streams/posts')).text.split('\n').filter(line => line !== '').length
  await until('they are in the stream', async () => await count() >= rooms.length * round)
  return rooms.map(room => `${room}/${round}`)
}

const distinct = (readers: readonly GroupReaderClient[]) => new Set(readers.flatMap(reader => reader.posts))

async function given (t: Test) {
  const node = await startTestNode(t)
  const join = (group: string, query = '') => GroupReaderClient.open(t, node.api, group, { query })
  const shown = async (group: string) => (await node.request('GET', `/v1/groups/${group}`)).json as any
  return { node, join, shown }
}

t.test('A group', async t => {
  await t.test('has its partitions shared among its readers, each in order, and goes on behind what is acked', async t => {
    const { node, join, shown } = await given(t)
    await post(node, 1)
    const first = await join('orders')
    await until('all came', () => first.posts.length === 12)
    const second = await join('orders')
    t.ok((await first.ackAll()).every(({ status }) => status === 'acked'))
    await until('both have partitions', async () =>
      (await shown('orders')).readers.every(({ partitions }: any) => partitions.length === 4))
    await post(node, 2)
    await until('all came', () => first.posts.length + second.posts.length === 24)
    t.equal(second.posts.filter(post => post.endsWith('/1')).length, 0, 'what was acked comes no more')
    t.ok(second.posts.length > 0 && first.posts.length > 12)
    await Promise.all([first.ackAll(), second.ackAll()])
    const { streams: [lag], group } = await shown('orders')
    t.match(lag, { follower: 'readers orders', stream: 'posts', blocks: 0 })
    t.equal(group, 'orders')
    first.leave()
    second.leave()
    const third = await join('orders')
    await post(node, 3)
    await until('what is new came', () => third.posts.length === 12)
    t.ok(third.posts.every(post => post.endsWith('/3')))
  })

  await t.test('gives what a reader has not acked to the others when he goes, and takes no ack of his any more', async t => {
    const { node, join } = await given(t)
    const readers = [await join('orders'), await join('orders')]
    await until('both have partitions', async () => {
      const { json } = await node.request('GET', '/v1/groups/orders')
      return (json as any).readers.every(({ partitions }: any) => partitions.length === 4)
    })
    const all = await post(node, 1)
    await until('all came', () => distinct(readers).size === 12)
    const [gone, stays] = readers as [GroupReaderClient, GroupReaderClient]
    const had = gone.posts.length
    t.ok(had > 0)
    gone.leave()
    await until('the other one has it all', () => stays.posts.length === 12)
    t.strictSame([...distinct([stays])].sort(), all.sort())
    t.ok((await stays.ackAll()).every(({ status }) => status === 'acked'))
  })

  await t.test('ends a reader who acks nothing, and pauses one who has much to ack', async t => {
    const { node, join } = await given(t)
    const silent = await join('orders', '&ackWithinMs=1000')
    await post(node, 1)
    await until('all came', () => silent.posts.length === 12)
    await silent.gone
    t.match(silent.lines.at(-1), { ended: { code: 'not-leased' } })
    const next = await join('orders')
    await until('another one goes on', () => next.posts.length === 12)
    t.match(await silent.ack([silent.lines[0]!.cursor]), [{ status: 'rejected', code: 'not-leased' }], 'it was given again')
    await next.ackAll()
    t.match(await silent.ack([silent.lines[0]!.cursor]), [{ status: 'acked' }], 'it is done')
  })

  await t.test('takes no late ack of what another reader has by now, and gives him no more for it', async t => {
    const { node, join, shown } = await given(t)
    await post(node, 1)
    const first = await join('orders')
    await until('all came', () => first.posts.length === 12)
    const second = await join('orders')
    await until('the other one has half of them again', async () =>
      (await shown('orders')).readers.every(({ partitions }: any) => partitions.length === 4) && second.posts.length > 0)
    const unackedOf = async () => (await shown('orders')).readers.map(({ unackedBytes }: any) => unackedBytes)
    const before = await unackedOf()
    const again = first.lines.filter((_line, i) => second.posts.includes(first.posts[i]!))
    const late = await first.ack(again.map(({ cursor }) => cursor))
    t.strictSame(late.map(({ code }) => code), again.map(() => 'not-leased'))
    t.strictSame(await unackedOf(), before)
    t.ok((await second.ackAll()).every(({ status }) => status === 'acked'))
  })

  await t.test('keeps all its places where it is not to be forgotten, for one of its streams is read', async t => {
    const { node, join } = await given(t)
    await post(node, 1)
    const reader = await join('orders')
    await until('all came', () => reader.posts.length === 12)
    await reader.ackAll()
    reader.leave()
    const leaving = new AbortController()
    t.teardown(() => { leaving.abort() })
    const headers = { authorization: 'Bearer the-key-of-a-test-node' }
    await fetch(`${node.api}/v1/streams/nodes?group=orders`, { headers, signal: leaving.signal }) // listed behind posts
    await until('nobody reads posts', async () => {
      const { json } = await node.request('GET', '/v1/groups/orders')
      return (json as any).readers.every(({ stream }: any) => stream === 'nodes')
    })
    t.equal((await node.request('DELETE', '/v1/groups/orders')).status, 409)
    const again = await join('orders')
    await post(node, 2)
    await until('what is new came', () => again.posts.length >= 12)
    t.ok(again.posts.every(post => post.endsWith('/2')), 'and nothing that was acked')
  })

  await t.test('holds back a reader until he acks', async t => {
    const { node, join } = await given(t)
    const payload = 'x'.repeat(50_000)
    for (let i = 0; i < 100; i++) await node.request('POST', '/v1/rooms/r/posts', { payload })
    const reader = await join('orders')
    await until('some came', () => reader.posts.length >= 60)
    await new Promise(resolve => { setTimeout(resolve, 300) })
    const had = reader.posts.length
    t.ok(had < 90, `${had} came`)
    await reader.ackAll()
    await until('the others came', () => reader.posts.length === 100)
    t.strictSame(reader.posts, Array.from({ length: 100 }, (_, i) => `r/${i + 1}`), 'in order')
  })

  await t.test('tells a reader, in its place, what retention deleted while he held the group back', async t => {
    const node = await startTestNode(t, { LEDGERLINE_RETENTION_BYTES: '2000000' })
    const payload = 'x'.repeat(50_000)
    const post = async () => {
      for (let i = 0; i < 150; i++) await node.request('POST', '/v1/rooms/r/posts', { payload })
    }
    await post()
    const reader = await GroupReaderClient.open(t, node.api, 'orders', { query: '&ackWithinMs=600000' })
    await until('some came', () => reader.posts.length >= 30)
    await post()
    const first = async () => JSON.parse((await node.request('GET', '/v1/streams/posts?limit=1')).text.split('\n')[0]!).roomSeq
    await until('retention has passed him', async () => await first() > reader.lines.at(-1)!.roomSeq + 50)
    while (reader.posts.at(-1) !== 'r/300') {
      await reader.ackAll()
      await new Promise(resolve => { setTimeout(resolve, 100) })
    }
    const isHole = ({ hole }: { readonly hole?: object }) => hole !== undefined
    for (const [i, line] of reader.lines.entries()) {
      const before = reader.lines[i - 1]
      if (!before || isHole(line) || isHole(before)) continue
      t.equal(line.roomSeq, before.roomSeq + 1, 'without a gap, but where a hole is told')
    }
    t.ok(reader.lines.findIndex(isHole) > 0, 'it is told between two lines')
  })

  await t.test('begins where it is asked to, and is forgotten once nobody reads in it', async t => {
    const { node, join } = await given(t)
    await post(node, 1)
    const late = await join('late', '&after=now')
    await until('it has partitions', async () => {
      const { json } = await node.request('GET', '/v1/groups/late')
      return (json as any).readers[0]?.partitions.length === 8
    })
    await post(node, 2)
    await until('what is new came', () => late.posts.length === 12)
    t.ok(late.posts.every(post => post.endsWith('/2')))
    t.equal((await node.request('DELETE', '/v1/groups/late')).status, 409)
    t.match((await node.request('GET', '/v1/groups')).json, { groups: ['late'] })
    late.leave()
    await until('it is forgotten', async () => (await node.request('DELETE', '/v1/groups/late')).status === 204)
    t.match((await node.request('GET', '/v1/groups')).json, { groups: [] })
    t.equal((await node.request('GET', '/v1/groups/late')).status, 404)
    const again = await join('late')
    await until('all came', () => again.posts.length === 24)
  })

  await t.test('takes what is nobody\'s business as done', async t => {
    const { node, join, shown } = await given(t)
    await post(node, 1)
    const reader = await join('lobby', '&room=room-3')
    await until('its room came', () => reader.posts.length === 1)
    await reader.ackAll()
    await until('nothing is left', async () => (await shown('lobby')).streams[0].blocks === 0)
    const other = GroupReaderClient.open(t, node.api, 'lobby', { query: '&room=room-4' })
    await t.rejects(other, /400.*want the users, room and service that the other readers/)
  })

  await t.test('is asked for nothing that it has not', async t => {
    const { node, join } = await given(t)
    for (const query of ['&limit=1', '&follow=false', '&after=abc', '&ackWithinMs=1']) {
      await t.rejects(join('orders', query), /400.*bad-request/, query)
    }
    for (const group of ['a.b', '', 'x'.repeat(65)]) await t.rejects(join(group), /400/, group)
    const { json } = await node.request('POST', '/v1/groups/orders/acks', { cursors: ['abc'] })
    t.match(json, { acks: [{ status: 'rejected', code: 'bad-request' }] })
  })

  await t.test('is told by metrics and by lag', async t => {
    const { node, join } = await given(t)
    const reader = await join('orders')
    await post(node, 1)
    await until('all came', () => reader.posts.length === 12)
    const { text } = await node.request('GET', '/metrics')
    t.match(text, /^ledgerline_group_readers 1$/m)
    t.match(text, /^ledgerline_group_unacked_bytes [1-9]\d+$/m)
    const labels = '\\{app="",group="orders",stream="posts"\\}'
    await until('how far it is was looked up', async () => {
      const { text } = await node.request('GET', '/metrics')
      return new RegExp(`^ledgerline_group_lag_blocks${labels} [1-9]`, 'm').test(text) &&
        new RegExp(`^ledgerline_group_lag_seconds${labels} [0-9.]+$`, 'm').test(text)
    })
    const { json: shown } = await node.request('GET', '/v1/groups/orders')
    t.match(shown, { nodes: [{ stream: 'posts', partitions: (shown as any).readers[0].partitions }] })
    t.equal((shown as any).nodes.length, 1)
    await reader.ackAll()
    t.match((await node.request('GET', '/metrics')).text, /^ledgerline_group_acks_total 12$/m)
    const { json } = await node.request('GET', '/v1/lag')
    t.match((json as any).followers.find(({ follower }: any) => follower === 'readers orders'), { stream: 'posts', blocks: 0 })
  })
})
