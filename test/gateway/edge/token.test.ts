import t, { type Test } from 'tap'
import type { Identity, TokenBearer } from '../../../actors/connection/edge-context.js'
import { type KeySetTimes, keySetTimes } from '../../../gateway/edge/key-set.js'
import { TokenVerifier } from '../../../gateway/edge/token.js'
import type { Circuit } from '../../../ledger/circuit.js'
import type { TokenIssuer } from '../../../gateway/issuers.js'
import { type Health, nobodyWatches } from '../../../schemas/conditions.js'
import { jwtSecret, signedToken, until } from '../node.js'
import { KeyHost, signer } from './key-host.js'

const bearer = { frame: 'connect', deviceId: 'phone', platform: 'test', client: 'test', address: '127.0.0.1:1' } as const

/** No key asks who shows a token. */
class Verifier extends TokenVerifier {
  override verify (token: string, by: TokenBearer = bearer): Promise<Identity> { return super.verify(token, by) }
}

const nowS = () => Math.trunc(Date.now() / 1_000)

/** Fast, so that no test waits for long. */
const times: KeySetTimes = { ...keySetTimes, timeoutMs: 500, pauseMs: 10, retryMs: 50, retryMaxMs: 50 }

/** One without a name, whose tokens are for anybody. */
function issuer (more: Partial<TokenIssuer>): TokenIssuer {
  return { names: [], secret: undefined, jwksUrl: undefined, audiences: [], userClaim: 'sub', ...more }
}

async function given (t: Test, more: Partial<KeySetTimes> = {}) {
  const host = await KeyHost.start(t)
  const told: string[] = []
  const health: Health = {
    begin: (_name, reason) => { told.push(reason) },
    end: () => { told.push('') },
  }
  const verifier = new Verifier([issuer({ jwksUrl: host.url })], 30_000, health, { ...times, ...more })
  t.teardown(() => { verifier.stop() })
  return { host, verifier, told }
}

t.test('A key host', async t => {
  t.test('that refuses, fails, talks nonsense or hangs is not the fault of a token', async t => {
    const { host, verifier, told } = await given(t)
    const ann = await (await signer('a')).sign({ sub: 'ann' })
    const troubles: Array<[string, RegExp, () => unknown]> = [
      ['is away', /ECONNREFUSED/, () => host.refuse()],
      ['fails', /answers 500/, async () => { await host.listen(); host.answers(500, '') }],
      ['sends elsewhere', /answers 302/, () => { host.answers(302, '') }],
      ['answers a page', /something else than JSON/, () => { host.answers(200, '<html>maintenance</html>') }],
      ['answers null', /without a key/, () => { host.answers(200, 'null') }],
      ['answers something else', /without a key/, () => { host.answers(200, '{"error":"busy"}') }],
      ['has no key', /without a key/, () => { host.answers(200, '{"keys":[]}') }],
      ['has keys of no use', /without a key/, () => { host.answers(200, '{"keys":[{"kty":"oct","k":"AAAA"},null]}') }],
      ['answers without an end', /more than 1048576 bytes/, () => { host.answers(200, `"${'x'.repeat(2 << 20)}"`) }],
      ['hangs', /in time/, () => { host.hangs() }],
      ['hangs in its answer', /in time/, () => { host.drips() }],
    ]
    for (const [what, reason, make] of troubles) {
      await make()
      await t.rejects(verifier.verify(ann), {
        code: 'key-set-unavailable', retryAfterMs: Number,
      }, what)
      await until(`it is told that it ${what}`, () => reason.test(told.at(-1)!))
    }
  })

  t.test('says how long to wait', async t => {
    const { host, verifier } = await given(t, { retryMs: 1_000, retryMaxMs: 30_000 })
    await host.refuse()
    const ann = await (await signer('a')).sign({ sub: 'ann' })
    const err = await verifier.verify(ann).catch(err => err)
    t.ok(err.retryAfterMs >= 1_000 && err.retryAfterMs <= 60_000, `${err.retryAfterMs} ms`)
  })

  t.test('is tried again by itself, and heard of at the start and at the end of its trouble', async t => {
    const { host, verifier, told } = await given(t)
    verifier.start()
    await until('it is in trouble', () => told.length > 2)
    const a = await signer('a')
    host.has(a)
    await until('it is well', () => told.at(-1) === '')
    await host.refuse()
    t.match(await verifier.verify(await a.sign({ sub: 'ann' })), { userId: 'ann' }, 'without another request')
  })

  t.test('that goes away leaves its keys in use, for a day', async t => {
    const { host, verifier } = await given(t, { freshMs: 20, ageMaxMs: 2_000 })
    const [a, b] = [await signer('a'), await signer('b')]
    const old = await a.sign({ sub: 'ann' })
    host.has(a)
    await verifier.verify(old)
    host.answers(500, '')
    const since = Date.now()
    let err: { code: string } | undefined
    while (!err) {
      err = await verifier.verify(old).then(() => undefined, err => err)
      if (!err) await new Promise(resolve => setTimeout(resolve, 20))
    }
    t.ok(Date.now() - since >= 1_900, 'not before')
    t.equal(err.code, 'key-set-unavailable')
    await t.rejects(verifier.verify(await b.sign({ sub: 'ann' })), { code: 'key-set-unavailable' }, 'a new one may be good')
    host.has(a)
    await until('it is had again', () => verifier.verify(old).then(() => true, () => false))
  })

  t.test('that hangs lets nobody wait once that is known, and has one request at a time', async t => {
    const { host, verifier } = await given(t, { timeoutMs: 60_000, retryMs: 1_000, retryMaxMs: 1_000 })
    const a = await signer('a')
    const token = await a.sign({ sub: 'ann' })
    host.answers(500, '')
    await t.rejects(verifier.verify(token), { code: 'key-set-unavailable' })
    host.hangs()
    const asked = host.requests
    await until('it is asked', () => host.requests > asked)
    t.match(verifier.circuits(), [{ dependency: 'key-set', state: 'half-open', opened: 1 }])
    const [{ refused }] = verifier.circuits() as [Circuit]
    for (let i = 0; i < 20; i++) {
      const err = await verifier.verify(token).catch(err => err)
      t.equal(err.code, 'key-set-unavailable')
      t.ok(err.retryAfterMs >= 1_000)
    }
    t.equal(host.requests, asked + 1)
    t.match(verifier.circuits(), [{ refused: refused + 20 }])
    await host.refuse()
    await host.listen()
    host.has(a)
    await until('it is well', () => verifier.verify(token).then(() => true, () => false))
    t.match(verifier.circuits(), [{ state: 'closed', opened: 1 }])
  })

  t.test('that fails once is asked again by whoever comes, and by itself', async t => {
    const { host, verifier, told } = await given(t, { retryMs: 60_000, retryMaxMs: 60_000 })
    const a = await signer('a')
    verifier.start()
    await until('it has failed', () => told.length > 0)
    t.match(verifier.circuits(), [{ state: 'closed' }])
    host.has(a)
    t.match(await verifier.verify(await a.sign({ sub: 'ann' })), { userId: 'ann' })
    t.equal(told.at(-1), '')

    const other = await given(t, { retryMs: 20, retryMaxMs: 60_000 })
    other.verifier.start()
    await until('it has failed', () => other.told.length > 0)
    other.host.has(a)
    await until('it is well', () => other.told.at(-1) === '')
  })

  t.test('that hangs does not hold up tokens of known keys', async t => {
    const { host, verifier } = await given(t, { freshMs: 0, timeoutMs: 3_600_000 }) // who waits for it waits too long
    const a = await signer('a')
    host.has(a)
    const token = await a.sign({ sub: 'ann' })
    await verifier.verify(token)
    host.answers(500, '')
    await verifier.verify(token)
    host.hangs()
    const asked = host.requests
    await until('it hangs', () => host.requests > asked)
    t.match(await verifier.verify(token), { userId: 'ann' })
  })

  t.test('that has a new key is asked for it at once', async t => {
    const { host, verifier } = await given(t)
    const [a, b] = [await signer('a'), await signer('b')]
    host.has(a)
    await verifier.verify(await a.sign({ sub: 'ann' }))
    host.has(a, b)
    t.match(await verifier.verify(await b.sign({ sub: 'bob' })), { userId: 'bob' })
    host.has(b)
    t.match(await verifier.verify(await a.sign({ sub: 'ann' })), { userId: 'ann' }, 'and keeps the old one for a while')
    t.equal(host.requests, 2)
  })

  t.test('that got a new key while it was asked is asked again', async t => {
    const { host, verifier } = await given(t, { timeoutMs: 30_000 })
    const [a, b] = [await signer('a'), await signer('b')]
    let answer = () => {}
    host.holds(release => { answer = release }, a)
    const ann = verifier.verify(await a.sign({ sub: 'ann' }))
    await until('it is asked', () => host.requests === 1)
    const bob = verifier.verify(await b.sign({ sub: 'bob' }))
    answer()
    host.has(a, b)
    t.match(await ann, { userId: 'ann' })
    t.match(await bob, { userId: 'bob' })
    t.equal(host.requests, 2)
  })

  t.test('is not flooded by tokens that name keys of their own', async t => {
    const { host, verifier } = await given(t, { pauseMs: 1_000 })
    const [a, forger] = [await signer('a'), await signer('forged')]
    host.has(a)
    const forged = await forger.sign({ sub: 'ann' })
    const many = await Promise.all(Array.from({ length: 20 }, async (_, i) => (await signer(`f${i}`)).sign({ sub: 'ann' })))
    await t.rejects(verifier.verify(forged), { code: 'bad-token' })
    const before = host.requests
    for (let i = 0; i < 20; i++) await t.rejects(verifier.verify(forged), { code: 'bad-token' })
    t.equal(host.requests, before, 'one that was looked up in vain is known')
    for (const err of await Promise.all(many.map(token => verifier.verify(token).catch(err => err)))) {
      t.equal(err.code, 'bad-token')
    }
    t.ok(host.requests - before <= 2, 'many that are new share one look-up')
    t.match(await verifier.verify(await a.sign({ sub: 'ann' })), { userId: 'ann' })
  })

  t.test('that does not name its keys has each of them tried, and the newest', async t => {
    const { host, verifier } = await given(t)
    const [a, b, c] = [await signer('a'), await signer('b'), await signer('c')]
    host.has(a, b)
    t.match(await verifier.verify(await b.sign({ sub: 'bob' }, false)), { userId: 'bob' })
    await t.rejects(verifier.verify(await c.sign({ sub: 'cat' }, false)), { code: 'bad-token' })
    host.has(a, b, c)
    t.match(await verifier.verify(await c.sign({ sub: 'cat' }, false)), { userId: 'cat' })
  })

  t.test('that has a broken key among good ones hurts only those who use that', async t => {
    const { host, verifier } = await given(t)
    const [a, b] = [await signer('a'), await signer('b')]
    host.answers(200, JSON.stringify({ keys: [a.publicKey, { ...b.publicKey, x: 'AA' }] }))
    t.match(await verifier.verify(await a.sign({ sub: 'ann' })), { userId: 'ann' })
    await t.rejects(verifier.verify(await b.sign({ sub: 'bob' })), { code: 'key-set-unavailable' })
  })

  t.test('has nothing to say of what can never be good', async t => {
    const { host, verifier } = await given(t)
    const [a, b] = [await signer('a'), await signer('b')]
    host.has(a)
    await t.rejects(verifier.verify('nonsense'), { code: 'bad-token' })
    await t.rejects(verifier.verify(await signedToken({ sub: 'ann' })), { code: 'bad-token' }, 'HS256')
    t.equal(host.requests, 0)
    const [header, body] = (await a.sign({ sub: 'ann' })).split('.')
    const [, , signature] = (await b.sign({ sub: 'ann' })).split('.')
    await t.rejects(verifier.verify(`${header}.${body}.${signature}`), { code: 'bad-token' }, 'a wrong signature')
  })
})

t.test('A token', async t => {
  const verifier = new Verifier([issuer({ secret: jwtSecret })], 30_000, nobodyWatches)
  const verify = async (claims: Record<string, unknown>) => verifier.verify(await signedToken({ sub: 'ann', ...claims }))

  t.test('of a clock that is fast is taken within the tolerance, and else early', async t => {
    for (const claim of ['nbf', 'iat']) {
      t.match(await verify({ [claim]: nowS() + 8 }), { userId: 'ann' }, `${claim} 8 s ahead`)
      const err = await verify({ [claim]: nowS() + 300 }).catch(err => err)
      t.equal(err.code, 'token-early')
      const { retryAfterMs } = err
      t.ok(retryAfterMs > 265_000 && retryAfterMs <= 270_000, `${claim}: until it is valid, ${retryAfterMs}`)
      const later = await verify({ [claim]: nowS() + 86_400 }).catch(err => err)
      t.match(later, { code: 'token-early', retryAfterMs: 600_000 })
    }
  })

  t.test('that is early and forged is forged', async t => {
    const forged = await signedToken({ sub: 'ann', nbf: nowS() + 300 }, { secret: 'not the secret of any node at all' })
    await t.rejects(verifier.verify(forged), { code: 'bad-token' })
  })

  t.test('that is over is taken within the tolerance, and lasts until its end', async t => {
    const exp = nowS() - 4
    t.match(await verify({ exp }), {
      userId: 'ann', deviceId: undefined, tokenId: '', expiresAtMs: exp * 1_000, endsAtMs: exp * 1_000 + 30_000,
    })
    await t.rejects(verify({ exp: nowS() - 31 }), { code: 'token-expired' })
    t.match(await verify({}), { expiresAtMs: Infinity, endsAtMs: Infinity })
  })

  t.test('says what its user may do in rooms, and is bad where that can not be read', async t => {
    const { rooms } = await verify({ rooms: { 'chat:*': 'rw', news: 'r' } })
    t.ok(rooms.may('w', 'chat:7'))
    t.notOk(rooms.may('w', 'news'))
    t.notOk((await verify({})).rooms.may('r', 'news'), 'without the claim there are no rooms')
    for (const wrong of ['chat:*', null, ['chat:*'], { 'chat:*': 'x' }, { 'a*b': 'r' }]) {
      await t.rejects(verify({ rooms: wrong }), { code: 'bad-token', message: /^rooms: want an object/ })
    }
  })

  t.test('of times that are no numbers is bad', async t => {
    for (const claim of ['nbf', 'iat', 'exp']) {
      const body = Buffer.from(JSON.stringify({ sub: 'ann', [claim]: 'soon' })).toString('base64url')
      const { createHmac } = await import('node:crypto')
      const signed = `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.${body}`
      const signature = createHmac('sha256', jwtSecret).update(signed).digest('base64url')
      await t.rejects(verifier.verify(`${signed}.${signature}`), { code: 'bad-token' }, claim)
    }
  })
})

t.test('Several issuers', async t => {
  const [a, b] = [await signer('k'), await signer('k')]
  const given = async (t: Test) => {
    const hosts = [await KeyHost.start(t), await KeyHost.start(t)] as const
    hosts[0].has(a)
    hosts[1].has(b)
    const lasting = new Map<string | undefined, string>()
    const verifier = new Verifier([
      issuer({ names: ['a'], jwksUrl: hosts[0].url, audiences: ['chat', 'ops'] }),
      issuer({ names: ['b', 'B'], jwksUrl: hosts[1].url, userClaim: 'uid' }),
    ], 30_000, {
      begin: (_name, reason, what) => { lasting.set(what, reason) },
      end: (_name, what) => { lasting.delete(what) },
    }, { ...times, unknownMs: 60_000 })
    t.teardown(() => { verifier.stop() })
    return { hosts, verifier, lasting }
  }

  t.test('have keys, audiences and a claim for the user of their own', async t => {
    const { verifier } = await given(t)
    t.match(await verifier.verify(await a.sign({ iss: 'a', aud: ['x', 'ops'], sub: 'ann' })), { userId: 'ann' })
    t.match(await verifier.verify(await b.sign({ iss: 'B', sub: 'eve', uid: 'bob' })), { userId: 'bob' })
    for (const token of [
      await a.sign({ iss: 'b', uid: 'ann' }), await b.sign({ iss: 'a', aud: 'ops', sub: 'ann' }),
      await a.sign({ iss: 'a', sub: 'ann' }), await b.sign({ iss: 'b', sub: 'ann' }), await a.sign({ sub: 'ann', aud: 'ops' }),
    ]) await t.rejects(verifier.verify(token), { code: 'bad-token' })
  })

  t.test('of which one has no answer keep nobody from the other, and are told apart', async t => {
    const { verifier, hosts, lasting } = await given(t)
    await hosts[1].refuse()
    const ofB = await b.sign({ iss: 'b', uid: 'bob' })
    await t.rejects(verifier.verify(ofB), { code: 'key-set-unavailable' })
    t.match(await verifier.verify(await a.sign({ iss: 'a', aud: 'ops', sub: 'ann' })), { userId: 'ann' })
    t.strictSame([...lasting.keys()], ['b'])
    await hosts[1].listen()
    await until('the keys are there', () => verifier.verify(ofB).then(() => true, () => false))
    t.strictSame([...lasting.keys()], [])
  })

  t.test('are asked for a kid that nobody knows once each, and only where it is theirs', async t => {
    const { verifier, hosts } = await given(t)
    const unknown = await signer('new')
    await verifier.verify(await a.sign({ iss: 'a', aud: 'ops', sub: 'ann' }))
    await verifier.verify(await b.sign({ iss: 'b', uid: 'bob' }))
    const before = hosts.map(host => host.requests)
    for (let i = 0; i < 3; i++) {
      await t.rejects(verifier.verify(await unknown.sign({ iss: 'a', aud: 'ops', sub: 'ann' })), { code: 'bad-token' })
    }
    t.strictSame(hosts.map((host, i) => host.requests - before[i]!), [1, 0])
    await t.rejects(verifier.verify(await unknown.sign({ iss: 'b', uid: 'bob' })), { code: 'bad-token' })
    t.strictSame(hosts.map((host, i) => host.requests - before[i]!), [1, 1], 'what one lacks says nothing of the other')
  })
})
