import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeCertificates, opensslMissing } from '../../cluster/certificates.js'
import { complaintsOf } from '../../lasting.js'
import { signedToken, startTestNode, type TestNode } from '../node.js'
import { alive, connected, connectFrame, endsWith, speaker } from './dialects.js'
import { KeyHost, signer } from './key-host.js'
import { refusedUpgrade } from './raw-websocket.js'

/*
  Who is let in, on every listener: three issuers, of which two have key sets and one a secret, two apps with issuers of
  their own, and whatever may be tried against them. What a bad upgrade holds: smuggled.test.ts; API keys:
  http/key-table.test.ts.
*/

const nowS = () => Math.trunc(Date.now() / 1_000)
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const partnerSecret = 'the secret of the partner, and of nobody else'

const shopSecret = 'the secret of the shop, and of nobody else'

const ours = await signer('k1', 'RS256')
const others = await signer('k1')
const stranger = await signer('k1', 'RS256')
const bank = await signer('k1', 'RS256')

/** Claims that are good of each. */
const good = { sub: 'ann', iss: 'https://ours', aud: 'chat' }
const ofOthers = { sub: 'ann', iss: 'other-2', aud: 'chat' }
const ofPartner = { uid: 'ann', iss: 'partner' }
const byPartner = (claims: Record<string, unknown>) => signedToken(claims, { secret: partnerSecret })

async function table (): Promise<Array<[what: string, code: string, token: string]>> {
  const [, body] = (await ours.sign(good)).split('.')
  return [
    ['alg none', 'bad-token', `${part({ alg: 'none', kid: 'k1' })}.${body}.`],
    ['HS256 with the public key as its secret', 'bad-token', await signedToken(good, { secret: ours.publicPem })],
    ['HS256 with the secret of another issuer', 'bad-token', await byPartner(good)],
    ['RS256 in the name of an issuer with a secret', 'bad-token', await ours.sign({ ...ofPartner, sub: 'ann' })],
    ['a key that nobody knows, under a known kid', 'bad-token', await stranger.sign(good)],
    ['a key that nobody knows, without a kid', 'bad-token', await stranger.sign(good, false)],
    ['a kid that nobody has', 'bad-token', await (await signer('k9')).sign(good)],
    ['the key of another issuer', 'bad-token', await ours.sign(ofOthers)],
    ['ours by the key of another issuer', 'bad-token', await others.sign(good)],
    ['one with its key in the header', 'bad-token',
      `${part({ alg: 'RS256', jwk: stranger.publicKey })}.${(await stranger.sign(good)).split('.').slice(1).join('.')}`],
    ['one that is over', 'token-expired', await ours.sign({ ...good, exp: nowS() - 3_600 })],
    ['one that is early', 'token-early', await ours.sign({ ...good, nbf: nowS() + 3_600 })],
    ['another audience', 'bad-token', await ours.sign({ ...good, aud: ['mail', 'news'] })],
    ['no audience', 'bad-token', await ours.sign({ sub: 'ann', iss: good.iss })],
    ['an issuer that nobody knows', 'bad-token', await ours.sign({ ...good, iss: 'https://theirs' })],
    ['no issuer', 'bad-token', await ours.sign({ sub: 'ann', aud: 'chat' })],
    ['an issuer that is a list', 'bad-token', await ours.sign({ ...good, iss: [good.iss] })],
    ['an issuer by a name of every object', 'bad-token', await ours.sign({ ...good, iss: '__proto__' })],
    ['a user in the claim of another issuer', 'bad-token', await byPartner({ iss: 'partner', sub: 'ann' })],
    ['a user that is none', 'bad-token', await byPartner({ ...ofPartner, uid: 7 })],
    ['another device', 'bad-token', await ours.sign({ ...good, dev: 'tablet' })],
    ['no token', 'bad-token', ''],
    ['an app by the secret of another one', 'bad-token',
      await signedToken({ sub: 'ann', iss: 'bank' }, { secret: shopSecret })],
    ['an app with a secret by the key set of another one', 'bad-token', await bank.sign({ sub: 'ann', iss: 'shop' })],
    ['an app by the key of the default one', 'bad-token', await ours.sign({ ...good, iss: 'bank' })],
    ['the default app by the key of another one', 'bad-token', await bank.sign(good)],
    ['the default app by the secret of another one', 'bad-token', await signedToken(ofPartner, { secret: shopSecret })],
    ['the user of another app by its separator', 'bad-token', await byPartner({ ...ofPartner, uid: 'shop\u001fann' })],
  ]
}

async function certificateFiles (t: Test): Promise<Record<string, string>> {
  const certificates = await makeCertificates(t)
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-auth-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await copyFile(certificates.ca, join(directory, 'ca.crt'))
  for (const end of ['crt', 'key']) {
    await copyFile(end === 'crt' ? certificates.server.cert : certificates.server.key, join(directory, `tls.${end}`))
  }
  return { LEDGERLINE_TLS_CERT: join(directory, 'tls.crt'), LEDGERLINE_TLS_KEY: join(directory, 'tls.key') }
}

async function givenNode (t: Test, environment: Record<string, string>): Promise<TestNode> {
  const hosts = await Promise.all([KeyHost.start(t), KeyHost.start(t), KeyHost.start(t)])
  const [hostOfOurs, hostOfOthers, hostOfBank] = hosts
  hostOfOurs.has(ours)
  hostOfOthers.has(others)
  hostOfBank.has(bank)
  return await startTestNode(t, {
    ...environment,
    LEDGERLINE_JWT_SECRET: '',
    LEDGERLINE_JWT_ISSUERS: JSON.stringify([
      { issuer: 'https://ours', jwksUrl: hostOfOurs.url, audience: ['chat', 'ops'] },
      { issuer: ['other-1', 'other-2'], jwksUrl: hostOfOthers.url, audience: 'chat' },
      { issuer: 'partner', secret: partnerSecret, userClaim: 'uid' },
    ]),
    LEDGERLINE_APPS: JSON.stringify([
      { name: 'shop', issuers: [{ issuer: 'shop', secret: shopSecret }] },
      { name: 'bank', issuers: [{ issuer: 'bank', jwksUrl: hostOfBank.url }] },
    ]),
  })
}

for (const tls of [false, true]) {
  const skip = tls && (opensslMissing() ?? false)
  t.test(tls ? 'With TLS' : 'Without TLS', { skip }, async t => {
    const node = await givenNode(t, tls ? await certificateFiles(t) : {})
    const refused = await table()
    const goodToken = await ours.sign(good)

    for (const dialect of ['TCP', 'WebSocket Avro', 'WebSocket JSON'] as const) {
      t.test(`${dialect} lets in whom an issuer vouches for`, async t => {
        const ofApps = [await signedToken({ sub: 'ann', iss: 'shop' }, { secret: shopSecret }), await bank.sign({ sub: 'ann', iss: 'bank' })]
        for (const token of [goodToken, await others.sign(ofOthers), await byPartner(ofPartner), ...ofApps]) {
          const { client, welcome } = await connected(t, node, dialect, 'ann', { token, deviceId: dialect })
          t.equal(welcome.userId, 'ann')
          await alive(t, client)
        }
      })

      t.test(`${dialect} lets nobody in with anything else, at connect or later`, async t => {
        for (const [what, code, token] of refused) {
          const client = await speaker(t, node, dialect)
          client.sendAll([await connectFrame(node, 'ann', { token }), { op: 'uplink', seq: 1, payload: 'x' }])
          t.equal((await endsWith(t, client, code)).op, 'error', what)
          const { client: open } = await connected(t, node, dialect, 'ann', { token: goodToken })
          open.send({ op: 'token', token })
          t.equal((await endsWith(t, open, code)).op, 'error', `later: ${what}`)
        }
      })

      t.test(`${dialect} gives nobody the session of another user`, async t => {
        const [annId, eveId] = [`ann-${dialect}`, `eve-${dialect}`]
        const annToken = await ours.sign({ ...good, sub: annId })
        const eveToken = await ours.sign({ ...good, sub: eveId })
        const { client: ann } = await connected(t, node, dialect, annId, { token: annToken })
        const { client: eve, welcome } = await connected(t, node, dialect, eveId, { token: eveToken })
        t.match(welcome, { userId: eveId, resumed: false, uplinkSeq: 0 })
        await node.push(annId, 'for ann alone')
        t.match(await ann.next(), { op: 'downlink' })
        await alive(t, eve)
        eve.send({ op: 'token', token: annToken })
        await endsWith(t, eve, 'bad-token')
        await alive(t, ann)
      })

      t.test(`${dialect} takes nothing before connect`, async t => {
        for (const frame of [
          { op: 'uplink', seq: 1, payload: 'x' }, { op: 'ping' }, { op: 'downlinkAck', seq: 1 }, { op: 'disconnect' },
          { op: 'token', token: goodToken },
        ]) {
          const client = await speaker(t, node, dialect)
          client.sendAll([frame, await connectFrame(node, 'ann', { token: goodToken })])
          t.equal((await endsWith(t, client, 'protocol')).op, 'error', frame.op)
        }
      })
    }

    for (const protocol of [undefined, 'ledgerline.v1.avro', 'ledgerline.v1.json']) {
      t.test(`no page of another origin gets a WebSocket, with ${protocol ?? 'no subprotocol'}`, async t => {
        const asked: Record<string, string> = protocol === undefined ? {} : { 'sec-websocket-protocol': protocol }
        for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example', `${node.http}.evil.example`, '']) {
          t.match(await refusedUpgrade(node, { ...asked, origin }), { status: 403, body: { code: 'bad-origin' } }, origin)
        }
        t.equal(await refusedUpgrade(node, { ...asked, origin: node.http }), undefined, 'its own does')
      })
    }

    t.test('and nothing of it is a fault of ours', async t => {
      // The certificate was made for two days.
      t.strictSame(complaintsOf(node.logged).filter(({ condition }) => condition !== 'certificate'), [])
    })
  })
}
