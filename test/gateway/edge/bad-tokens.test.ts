import { generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import { signedToken, startTestNode, until } from '../node.js'
import { alive, connected, connectFrame, dialects, endsWith, speaker } from './dialects.js'
import { KeyHost, signer } from './key-host.js'

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const nowS = Math.trunc(Date.now() / 1000)
const { privateKey } = await generateKeyPair('RS256')
const good = await signedToken({ sub: 'ann' })
const [header, body, signature] = good.split('.') as [string, string, string]

/** Each for the user `ann` and the device `phone`. */
const refused: Array<[what: string, code: string, token: string]> = [
  ['nothing', 'bad-token', ''],
  ['a word', 'bad-token', 'token'],
  ['two parts', 'bad-token', `${header}.${body}`],
  ['four parts', 'bad-token', `${good}.x`],
  ['parts that are not base64', 'bad-token', '$$$.%%%.!!!'],
  ['a header that is not JSON', 'bad-token', `bm9wZQ.${body}.${signature}`],
  ['a body that is not JSON', 'bad-token', `${header}.bm9wZQ.${signature}`],
  ['a signature with one bit turned', 'bad-token', `${header}.${body}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`],
  ['no signature', 'bad-token', `${header}.${body}.`],
  ['another user under the old signature', 'bad-token', `${header}.${part({ sub: 'eve' })}.${signature}`],
  ['another secret', 'bad-token', await signedToken({ sub: 'ann' }, { secret: 'not the secret of any node at all' })],
  ['an expired one with another secret', 'bad-token',
    await signedToken({ sub: 'ann', exp: nowS - 3600 }, { secret: 'not the secret of any node at all' })],
  ['alg none', 'bad-token', `${part({ alg: 'none' })}.${body}.`],
  ['alg none with a signature', 'bad-token', `${part({ alg: 'none' })}.${body}.${signature}`],
  ['HS512 with the right secret', 'bad-token', await signedToken({ sub: 'ann' }, { alg: 'HS512' })],
  ['HS384 with the right secret', 'bad-token', await signedToken({ sub: 'ann' }, { alg: 'HS384' })],
  ['RS256 with a key of its own', 'bad-token',
    await new SignJWT({ sub: 'ann' }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)],
  ['a critical header that nobody knows', 'bad-token', `${part({ alg: 'HS256', crit: ['x'], x: 1 })}.${body}.${signature}`],
  ['one that is expired', 'token-expired', await signedToken({ sub: 'ann', exp: nowS - 3600 })],
  ['one that is not yet valid', 'token-early', await signedToken({ sub: 'ann', nbf: nowS + 3600 })],
  ['an exp that is no number', 'bad-token', await signedToken({ sub: 'ann', exp: 'tomorrow' as unknown as number })
    .catch(() => `${header}.${part({ sub: 'ann', exp: 'tomorrow' })}.${signature}`)],
  ['another device', 'bad-token', await signedToken({ sub: 'ann', dev: 'tablet' })],
  ['a dev that is no string', 'bad-token', await signedToken({ sub: 'ann', dev: 7 })],
  ['no sub', 'bad-token', await signedToken({})],
  ['an empty sub', 'bad-token', await signedToken({ sub: '' })],
  ['a sub that is no string', 'bad-token', await signedToken({ sub: 7 as unknown as string })
    .catch(() => `${header}.${part({ sub: 7 })}.${signature}`)],
  ['a sub that is too long', 'bad-token', await signedToken({ sub: 'x'.repeat(257) })],
]

for (const dialect of dialects) {
  t.test(`A token over ${dialect}`, async t => {
    const node = await startTestNode(t)
    const { client: bystander } = await connected(t, node, dialect, 'bystander')

    for (const [what, code, token] of refused) {
      t.test(`is refused with ${code} when it is ${what}`, async t => {
        const client = await speaker(t, node, dialect)
        client.sendAll([await connectFrame(node, 'ann', { token }), { op: 'uplink', seq: 1, payload: 'not to be taken' }])
        const { message } = await endsWith(t, client, code)
        t.equal(typeof message, 'string')
      })
    }

    t.test('is taken when it names this device, or none', async t => {
      const { client } = await connected(t, node, dialect, 'ann', { token: await node.token('ann', { dev: 'phone' }) })
      await alive(t, client)
      await connected(t, node, dialect, 'ann', { token: await node.token('ann', { exp: nowS + 3600 }) })
    })

    t.test('that is refused brings nothing in, and hurts nobody', async t => {
      const { welcome } = await connected(t, node, dialect, 'ann', { deviceId: 'phone' })
      t.equal(welcome.uplinkSeq, 0)
      await alive(t, bystander)
      t.strictSame(node.logged, [])
    })
  })
}

t.test('An audience that the node wants', async t => {
  const node = await startTestNode(t, { LEDGERLINE_JWT_AUDIENCE: 'chat' })

  t.test('must be among those of the token', async t => {
    for (const claims of [{}, { aud: 'mail' }, { aud: ['mail', 'news'] }]) {
      const client = await speaker(t, node, 'TCP')
      client.send(await connectFrame(node, 'ann', { token: await node.token('ann', claims) }))
      await endsWith(t, client, 'bad-token')
    }
    for (const aud of ['chat', ['mail', 'chat']]) {
      const { client } = await connected(t, node, 'TCP', 'ann', { token: await node.token('ann', { aud }) })
      await alive(t, client)
    }
  })
})

t.test('A node whose key host is away', async t => {
  const host = await KeyHost.start(t)
  await host.refuse()
  const node = await startTestNode(t, { LEDGERLINE_JWT_SECRET: '', LEDGERLINE_JWKS_URL: host.url })
  const issuer = await signer('a')
  const token = await issuer.sign({ sub: 'ann' })

  t.test('sends its clients away with a wait, stays ready, and says what is wrong', async t => {
    for (const dialect of dialects) {
      const client = await speaker(t, node, dialect)
      client.send(await connectFrame(node, 'ann', { token }))
      const { retryAfterMs } = await endsWith(t, client, 'key-set-unavailable')
      t.ok(retryAfterMs > 0 && retryAfterMs <= 600_000)
    }
    const { status, json } = await node.request('GET', '/readyz')
    t.equal(status, 200)
    t.match(json, { ready: true, checks: { 'key-set': { ok: false, reason: /ECONNREFUSED/ } } })
  })

  t.test('takes them once it is back, and says that', async t => {
    await host.listen()
    host.has(issuer)
    await until('the trouble has ended', () => node.logged.some(({ msg }) => msg === 'trouble has ended'))
    const { client } = await connected(t, node, 'TCP', 'ann', { token })
    await alive(t, client)
    t.match((await node.request('GET', '/readyz')).json, { checks: { 'key-set': { ok: true, reason: '' } } })
  })
})
