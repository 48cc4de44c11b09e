import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { bansMax } from '../../actors/user/bans.js'
import { alive, connected, connectFrame, dialects, endsWith, type Dialect, speaker } from './edge/dialects.js'
import { startTestNode, type TestNode, until } from './node.js'

async function ban (node: TestNode, body: Record<string, unknown>): Promise<Record<string, unknown>> {
  const { status, json, text } = await node.request('POST', '/v1/bans', body)
  if (status !== 202) throw new Error(`the ban was answered with ${status} ${text}`)
  return json as Record<string, unknown>
}

async function lift (node: TestNode, userId: string, banId: unknown): Promise<number> {
  return (await node.request('DELETE', `/v1/bans/${String(banId)}?userId=${userId}`)).status
}

async function bansOf (node: TestNode, userId: string): Promise<Array<Record<string, unknown>>> {
  const { json } = await node.request('GET', `/v1/users/${userId}/bans`)
  return (json as { bans: Array<Record<string, unknown>> }).bans
}

/** Nothing but the end is said to it. */
async function keptOut (t: Test, node: TestNode, dialect: Dialect, userId: string, more = {}): Promise<void> {
  const client = await speaker(t, node, dialect)
  client.sendAll([await connectFrame(node, userId, more), { op: 'uplink', seq: 1, payload: 'not to be taken' }])
  const { left, closeCode } = await client.closed()
  t.match(left, [{ op: 'kick', code: 'banned' }])
  t.equal(left.length, 1)
  if (closeCode !== undefined) t.equal(closeCode, 4504)
}

for (const dialect of dialects) {
  t.test(`A ban over ${dialect}`, async t => {
    const node = await startTestNode(t)

    t.test('of a user ends his connections with its reason, and nobody else\'s', async t => {
      const { client: phone } = await connected(t, node, dialect, 'ann')
      const { client: tablet } = await connected(t, node, dialect, 'ann', { deviceId: 'tablet' })
      const { client: bob } = await connected(t, node, dialect, 'bob')
      const { banId } = await ban(node, { userId: 'ann', reason: 'spam' })
      for (const client of [phone, tablet]) t.match(await endsWith(t, client, 'banned'), { op: 'kick', reason: 'spam' })
      await alive(t, bob)
      await keptOut(t, node, dialect, 'ann')
      t.equal(await lift(node, 'ann', banId), 202)
      const { client, welcome } = await connected(t, node, dialect, 'ann')
      t.match(welcome, { resumed: true, uplinkSeq: 0 })
      await alive(t, client)
    })

    t.test('of a device, or of a token, ends no other', async t => {
      const tokens = { t1: await node.token('cat', { jti: 't1' }), t2: await node.token('cat', { jti: 't2' }) }
      const { client: phone } = await connected(t, node, dialect, 'cat', { token: tokens.t1 })
      const { client: tablet } = await connected(t, node, dialect, 'cat', { deviceId: 'tablet', token: tokens.t2 })
      await ban(node, { userId: 'cat', tokenId: 't2' })
      await endsWith(t, tablet, 'banned')
      await keptOut(t, node, dialect, 'cat', { deviceId: 'laptop', token: tokens.t2 })
      await ban(node, { userId: 'cat', deviceId: 'tablet' })
      await keptOut(t, node, dialect, 'cat', { deviceId: 'tablet', token: tokens.t1 })
      await alive(t, phone)
      t.match(await bansOf(node, 'cat'), [
        { deviceId: null, tokenId: 't2', untilMs: null }, { deviceId: 'tablet', tokenId: null, untilMs: null },
      ])
    })

    t.test('of a token ends the connection that shows it later, and a ban of the one before does not', async t => {
      const token = (jti: string) => node.token('dan', { jti })
      const { client } = await connected(t, node, dialect, 'dan', { token: await token('t1') })
      client.send({ op: 'token', token: await token('t2') })
      t.equal((await client.next()).op, 'tokenAccepted')
      await ban(node, { userId: 'dan', tokenId: 't1' })
      await alive(t, client)
      await ban(node, { userId: 'dan', tokenId: 't3' })
      client.send({ op: 'token', token: await token('t3') })
      await endsWith(t, client, 'banned')
    })

    t.test('leaves nothing in the log', async t => { t.strictSame(node.logged, []) })
  })
}

t.test('A ban', async t => {
  const node = await startTestNode(t)

  t.test('shows in presence, history and trace', async t => {
    const { client, welcome } = await connected(t, node, 'TCP', 'eva')
    const { position } = await ban(node, { userId: 'eva', reason: 'spam' })
    t.match(position, /^\d+@\d+\.\d+$/)
    await endsWith(t, client, 'banned')
    await until('she is offline', async () => {
      const { json } = await node.request('GET', '/v1/users/eva/presence')
      return !(json as { online: boolean }).online
    })
    const { connectionId } = welcome
    await until('it is in the history', async () =>
      (await node.request('GET', '/v1/connections?userId=eva')).text.includes('"code":"banned"'))
    const { json } = await node.request('GET', `/v1/users/eva/trace?connectionId=${connectionId}`)
    t.match(json, { verdict: { code: 'banned', text: /was banned \(banned\): spam/ } })
  })

  t.test('takes nothing from the user: what waits for him comes when it is lifted', async t => {
    const { client } = await connected(t, node, 'TCP', 'fay')
    const { banId } = await ban(node, { userId: 'fay' })
    await endsWith(t, client, 'banned')
    t.equal((await node.push('fay', 'hello')).status, 'queued')
    await lift(node, 'fay', banId)
    const { client: back } = await connected(t, node, 'TCP', 'fay')
    t.match(await back.next(), { op: 'downlink', payload: 'hello' })
  })

  t.test('ends by itself', async t => {
    const { untilMs } = await ban(node, { userId: 'gus', ttlMs: 50 })
    await until('its time is over', () => Date.now() > (untilMs as number))
    const { client } = await connected(t, node, 'TCP', 'gus')
    await alive(t, client)
    t.strictSame(await bansOf(node, 'gus'), [])
  })

  t.test('has an id by which it is set once and lifted once', async t => {
    const body = { userId: 'hal', banId: 'b1', deviceId: 'phone' }
    t.match(await ban(node, { ...body, ttlMs: 60_000 }), { banId: 'b1', deviceId: 'phone', tokenId: null, position: String })
    t.match(await ban(node, body), { banId: 'b1', untilMs: Number, position: null }, 'the first one stands')
    t.equal((await bansOf(node, 'hal')).length, 1)
    t.equal(await lift(node, 'hal', 'b2'), 404)
    t.equal(await lift(node, 'ann', 'b1'), 404, 'of another user')
    t.equal(await lift(node, 'hal', 'b1'), 202)
    t.equal(await lift(node, 'hal', 'b1'), 404)
    t.strictSame(await bansOf(node, 'hal'), [])
  })

  t.test('is refused where it is one too many, or none', async t => {
    for (let i = 0; i < bansMax; i++) await ban(node, { userId: 'ida', tokenId: `t${i}` })
    const full = await node.request('POST', '/v1/bans', { userId: 'ida', tokenId: 'one more' })
    t.match(full, { status: 400, json: { code: 'bad-request', message: /has 64 bans/ } })
    for (const body of [
      {}, { userId: '' }, { userId: 'ida', deviceId: 'd', tokenId: 't' }, { userId: 'ida', ttlMs: 1, untilMs: 2e12 },
      { userId: 'ida', untilMs: 5 }, { userId: 'ida', ttlMs: 0 }, { userId: 'ida', reason: 'x'.repeat(257) }, { userId: 'ida', jti: 't' },
    ]) t.match(await node.request('POST', '/v1/bans', body), { status: 400, json: { code: 'bad-request' } }, JSON.stringify(body))
    t.equal((await node.request('DELETE', '/v1/bans/b1')).status, 400)
  })
})

t.test('A ban is there when the node starts again', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-bans-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const environment = { LEDGERLINE_DATA: directory }
  let node = await startTestNode(t, environment)
  const { banId } = await ban(node, { userId: 'ann', reason: 'spam', tokenId: 't1' })
  const { client } = await connected(t, node, 'TCP', 'bob', { token: await node.token('bob', { jti: 't9' }) })
  await alive(t, client)
  await node.stop()
  node = await startTestNode(t, environment)
  t.match(await bansOf(node, 'ann'), [{ banId, reason: 'spam', tokenId: 't1' }])
  await keptOut(t, node, 'TCP', 'ann', { token: await node.token('ann', { jti: 't1' }) })
})
