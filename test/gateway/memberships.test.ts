import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type Links, localLinks, type LocalEnds } from '../../actors/links.js'
import type { Membership } from '../../actors/user/memberships.js'
import { membershipsMax } from '../../actors/user/memberships.js'
import { MembershipRequests } from '../../gateway/memberships.js'
import type { Entry } from '../../schemas/facts.js'
import { MemoryLog } from '../projections/memory-log.js'
import { startTestNode, type TestNode, until } from './node.js'

const path = (userId: string, roomId: string) => `/v1/users/${userId}/rooms/${encodeURIComponent(roomId)}`

async function roomsOf (node: TestNode, userId: string): Promise<string[]> {
  // Whoever knows may be late on a busy machine.
  const rooms = await until('his rooms are known', async () => {
    const { status, json } = await node.request('GET', `/v1/users/${userId}/rooms`)
    return status === 200 && (json as { rooms: Membership[] }).rooms
  })
  return rooms.map(({ roomId, rights }) => `${roomId} ${rights}`)
}

t.test('A user who is put into rooms', async t => {
  const node = await startTestNode(t)

  t.test('is in them, whether he was ever here or not, until he is taken out', async t => {
    const { status, json } = await node.request('PUT', path('ann', 'chat:7'))
    t.equal(status, 202)
    t.match(json, { userId: 'ann', roomId: 'chat:7', rights: 'rw', position: /^\d+@\d+\.\d+$/ })
    t.equal((await node.request('PUT', path('ann', 'a/b ř'), { rights: 'r' })).status, 202)
    t.strictSame(await roomsOf(node, 'ann'), ['chat:7 rw', 'a/b ř r'])
    t.strictSame(await roomsOf(node, 'bob'), [])
    t.match(await node.request('DELETE', `${path('ann', 'chat:7')}?reason=left`), { status: 202, json: { userId: 'ann', roomId: 'chat:7' } })
    t.strictSame(await roomsOf(node, 'ann'), ['a/b ř r'])
    for (const gone of [path('ann', 'chat:7'), path('bob', 'a/b ř')]) {
      await until('he is not there', async () => (await node.request('DELETE', gone)).status === 404)
    }
  })

  t.test('gets other rights by being put there again, and the same ones change nothing', async t => {
    await node.request('PUT', path('cy', 'news'), { rights: 'r' })
    await until('it is known', async () =>
      ((await node.request('PUT', path('cy', 'news'), { rights: 'r' })).json as { position: unknown }).position === null)
    t.match((await node.request('PUT', path('cy', 'news'), { rights: 'w' })).json, { rights: 'w', position: String })
    t.strictSame(await roomsOf(node, 'cy'), ['news w'])
  })

  t.test('is not put there again by a request that is repeated after he was taken out', async t => {
    t.equal((await node.request('PUT', path('dan', 'news'), { requestId: 'r1' })).status, 202)
    t.equal((await node.request('DELETE', `${path('dan', 'news')}?requestId=r2`)).status, 202)
    t.equal((await node.request('PUT', path('dan', 'news'), { requestId: 'r1' })).status, 202)
    t.strictSame(await roomsOf(node, 'dan'), [])
  })

  t.test('is refused in words what makes no sense', async t => {
    for (const body of [{ rights: 'x' }, { rights: 7 }, { requestId: '' }, { right: 'r' }, []]) {
      t.match(await node.request('PUT', path('eve', 'news'), body), { status: 400, json: { code: 'bad-request' } }, JSON.stringify(body))
    }
    for (const roomId of ['a'.repeat(257), 'a\u0001b']) t.equal((await node.request('PUT', path('eve', roomId))).status, 400)
    t.equal((await node.request('DELETE', `${path('eve', 'news')}?why=x`)).status, 400)
  })
})

t.test('A user\'s rooms are there when the node starts again', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-rooms-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const environment = { LEDGERLINE_DATA: directory }
  let node = await startTestNode(t, environment)
  await node.request('PUT', path('ann', 'chat:7'), { rights: 'r' })
  await node.stop()
  node = await startTestNode(t, environment)
  t.strictSame(await roomsOf(node, 'ann'), ['chat:7 r'])
})

t.test('Requests for rooms of a user', async t => {
  const given = (rooms: readonly Membership[] | 'away') => {
    const links: Links & LocalEnds = localLinks()
    links.users = question => {
      if (question.type !== 'askMemberships' || rooms === 'away') return
      const { nodeId, askId } = question
      links.toAsker({ type: 'membershipsKnown', nodeId, askId, rooms })
    }
    const log = new EmptyLog()
    return { requests: new MembershipRequests({ log, links, nodeId: 'n1', answerMs: 50 }) }
  }
  class EmptyLog extends MemoryLog<Entry> {
    override bounds (): never { return Promise.resolve({ first: 0n, next: 0n }) as never }
    override async append () { return { partition: 0, offset: 0n, index: 0 } }
  }
  const grant = { userId: 'ann', roomId: 'one more', rights: 'rw', requestId: 'r1', by: '' } as const

  t.test('are stored where nobody says which ones there are, and a question is answered with not-ready', async t => {
    const { requests } = given('away')
    t.match(await requests.grant(grant), { position: String })
    await requests.revoke({ userId: 'ann', roomId: 'chat', requestId: 'r2', by: '', reason: '' })
    await t.rejects(requests.of('ann'), { code: 'not-ready' })
  })

  t.test('are refused past the bound, but for a room that he is in', async t => {
    const rooms = Array.from({ length: membershipsMax }, (_, i) => ({ roomId: `room ${i}`, rights: 'r' as const, grantedAtMs: 1 }))
    const { requests } = given(rooms)
    await t.rejects(requests.grant(grant), { code: 'bad-request', message: /is in 1000 rooms/ })
    t.match(await requests.grant({ ...grant, roomId: 'room 7' }), { rights: 'rw', position: String })
  })
})
