import t from 'tap'
import { startTestNode, until } from '../node.js'
import { alive, closeCodes, connected, dialects, type Speaker } from './dialects.js'
import type { Test } from 'tap'

/** The last frame is a kick with `code`, and so is the close code. */
async function kicked (t: Test, client: Speaker, code: string, reason?: string): Promise<void> {
  const { left, closeCode } = await client.closed()
  t.match(left.at(-1), { op: 'kick', code, ...reason === undefined ? {} : { reason } })
  if (closeCode !== undefined) t.equal(closeCode, closeCodes[code])
}

for (const dialect of dialects) {
  t.test(`A login over ${dialect}`, async t => {
    t.test('supersedes an older connection of its device', async t => {
      const node = await startTestNode(t)
      const { client: older } = await connected(t, node, dialect, 'ann')
      const { client } = await connected(t, node, dialect, 'ann')
      await kicked(t, older, 'superseded')
      await node.push('ann', 'for the newer one')
      t.match(await client.next(), { op: 'downlink', seq: 1 })
      const { client: other } = await connected(t, node, dialect, 'ann', { deviceId: 'tablet', sessionId: 's2' })
      await alive(t, client)
      await alive(t, other)
    })

    t.test('ends others of its platform where the policy says so', async t => {
      const node = await startTestNode(t, { LEDGERLINE_LOGIN_POLICY: 'platform' })
      const { client: ios } = await connected(t, node, dialect, 'ann', { platform: 'ios' })
      const { client: web } = await connected(t, node, dialect, 'ann', { deviceId: 'd2', platform: 'web' })
      const { client: ios2 } = await connected(t, node, dialect, 'ann', { deviceId: 'd3', platform: 'ios' })
      await kicked(t, ios, 'kicked')
      await alive(t, web)
      await alive(t, ios2)
    })

    t.test('ends all others of its user where the policy says so', async t => {
      const node = await startTestNode(t, { LEDGERLINE_LOGIN_POLICY: 'user' })
      const { client: ios } = await connected(t, node, dialect, 'ann', { platform: 'ios' })
      const { client: bob } = await connected(t, node, dialect, 'bob', { platform: 'ios' })
      const { client: web } = await connected(t, node, dialect, 'ann', { deviceId: 'd2', platform: 'web' })
      await kicked(t, ios, 'kicked')
      await alive(t, web)
      await alive(t, bob)
    })

    t.test('ends nobody where the policy says so', async t => {
      const node = await startTestNode(t, { LEDGERLINE_LOGIN_POLICY: 'none' })
      const { client: one } = await connected(t, node, dialect, 'ann', { platform: 'ios' })
      const { client: two } = await connected(t, node, dialect, 'ann', { deviceId: 'd2', platform: 'ios' })
      await alive(t, one)
      await alive(t, two)
    })
  })

  t.test(`A kick over ${dialect}`, async t => {
    const node = await startTestNode(t)

    t.test('ends one connection, with the reason given', async t => {
      const { client: phone, welcome } = await connected(t, node, dialect, 'ann')
      const { client: tablet } = await connected(t, node, dialect, 'ann', { deviceId: 'tablet' })
      await until('the connection is known', async () =>
        (await node.request('DELETE', `/v1/connections/${welcome.connectionId}?reason=spam`)).status === 202)
      await kicked(t, phone, 'kicked', 'spam')
      await alive(t, tablet)
    })

    t.test('ends all connections of a user', async t => {
      const { client: phone } = await connected(t, node, dialect, 'ben')
      const { client: tablet } = await connected(t, node, dialect, 'ben', { deviceId: 'tablet' })
      const { client: other } = await connected(t, node, dialect, 'cat')
      await until('both are known', async () => {
        const { json } = await node.request('GET', '/v1/users/ben/presence')
        return (json as { sessions: unknown[] }).sessions.length === 2
      })
      t.equal((await node.request('DELETE', '/v1/users/ben/connections')).status, 202)
      await kicked(t, phone, 'kicked')
      await kicked(t, tablet, 'kicked')
      await alive(t, other)
    })

    t.test('comes behind all that was sent before it', async t => {
      const { client, welcome } = await connected(t, node, dialect, 'dan')
      await until('the connection is known', async () =>
        (await node.push('dan', 'hello', { delivery: 'signal' })).status === 'sent')
      for (let i = 1; i <= 30; i++) await node.push('dan', `${i} ${'x'.repeat(10_000)}`)
      t.equal((await node.request('DELETE', `/v1/connections/${welcome.connectionId}`)).status, 202)
      const { left } = await client.closed()
      const downlinks = left.filter(({ op }) => op === 'downlink').map(({ seq }) => seq)
      t.strictSame(downlinks, Array.from({ length: 30 }, (_, i) => i + 1))
      t.match(left.at(-1), { op: 'kick', code: 'kicked' })
    })

    t.test('leaves nothing in the log', async t => { t.strictSame(node.logged, []) })
  })
}
