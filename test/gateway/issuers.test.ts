import t from 'tap'
import { readConfig } from '../../gateway/read-config.js'
import { tokenIssuers } from '../../gateway/issuers.js'

const secret = 's'.repeat(32)
const hush = 'hush-hush-hush-hush-hush-hush-hush'
const shop = { issuer: 'https://id.example.com', jwksUrl: 'https://id.example.com/jwks.json' }
const settingOf = (...issuers: unknown[]) => ({ LEDGERLINE_JWT_ISSUERS: JSON.stringify(issuers) })
const read = (env: Record<string, string>) => tokenIssuers(readConfig(env))

t.test('Issuers', async t => {
  t.test('are one where settings describe it', async t => {
    t.strictSame(read({ LEDGERLINE_JWT_SECRET: secret }), [
      { names: [], secret, jwksUrl: undefined, audiences: [], userClaim: 'sub' },
    ])
    t.strictSame(read({
      LEDGERLINE_JWKS_URL: shop.jwksUrl,
      LEDGERLINE_JWT_ISSUER: 'https://a, b',
      LEDGERLINE_JWT_AUDIENCE: 'chat,mail',
      LEDGERLINE_JWT_USER_CLAIM: 'https://example.com/user',
    }), [{
      names: ['https://a', 'b'],
      secret: undefined,
      jwksUrl: shop.jwksUrl,
      audiences: ['chat', 'mail'],
      userClaim: 'https://example.com/user',
    }])
  })

  t.test('are read from JSON, or from a file of it', async t => {
    const list = [shop, { issuer: ['b1', 'b2'], secret, audience: 'chat', userClaim: 'uid' }]
    const wanted = [
      { names: [shop.issuer], secret: undefined, jwksUrl: shop.jwksUrl, audiences: [], userClaim: 'sub' },
      { names: ['b1', 'b2'], secret, jwksUrl: undefined, audiences: ['chat'], userClaim: 'uid' },
    ]
    t.strictSame(read(settingOf(...list)), wanted)
    const directory = t.testdir({ 'issuers.json': `\n${JSON.stringify(list)}\n` })
    t.strictSame(read({ LEDGERLINE_JWT_ISSUERS: `${directory}/issuers.json` }), wanted)
  })

  const wrong: Array<[what: string, env: Record<string, string>, message: RegExp]> = [
    ['no JSON', { LEDGERLINE_JWT_ISSUERS: `[${hush}` }, /^LEDGERLINE_JWT_ISSUERS: got something else than JSON/],
    ['no list', { LEDGERLINE_JWT_ISSUERS: t.testdir({ a: '{}' }) + '/a' }, /: want a JSON array of 1 to 100 issuers/],
    ['an object', { LEDGERLINE_JWT_ISSUERS: JSON.stringify({ ...shop, secret: hush }) }, /: want a JSON array of 1 to 100 issuers/],
    ['no file', { LEDGERLINE_JWT_ISSUERS: '/not/there' }, /got "\/not\/there", want .* \(ENOENT\)/],
    ['nobody', settingOf(), /1 to 100/],
    ['no object', settingOf(shop, 'b'), /^LEDGERLINE_JWT_ISSUERS\[1\]: want an object/],
    ['a field too many', settingOf({ ...shop, audiences: 'chat' }), /\[0\]: got a field "audiences", want only issuer, /],
    ['no name', settingOf({ jwksUrl: shop.jwksUrl }), /\[0\]\.issuer: want a name or a URL/],
    ['an empty list of names', settingOf({ ...shop, issuer: [] }), /\[0\]\.issuer: got none/],
    ['no key', settingOf({ issuer: 'a' }), /\[0\]: got neither secret nor jwksUrl/],
    ['two kinds of keys', settingOf({ ...shop, secret }), /\[0\]: got both/],
    ['a short secret', settingOf({ issuer: 'a', secret: hush.slice(0, 31) }), /\[0\]\.secret: want a secret of at least 32/],
    ['a login in a URL', settingOf({ issuer: 'a', jwksUrl: `https://u:${hush}@a` }), /\[0\]\.jwksUrl: want a URL/],
    ['an audience that is none', settingOf({ ...shop, audience: ['chat', 5] }), /\[0\]\.audience: want a name/],
    ['a claim that is none', settingOf({ ...shop, userClaim: '' }), /\[0\]\.userClaim: want the name of a claim/],
    ['a name twice', settingOf(shop, { ...shop, issuer: ['b', shop.issuer] }), /"https:\/\/id\.example\.com" twice/],
    ['settings of one', { ...settingOf(shop), LEDGERLINE_JWT_AUDIENCE: 'chat' },
      /^LEDGERLINE_JWT_ISSUERS and LEDGERLINE_JWT_AUDIENCE: got both/],
  ]
  for (const [what, env, message] of wrong) {
    t.test(`are refused with what is wrong, and no secret, where there is ${what}`, async t => {
      t.throws(() => read(env), { name: 'ConfigError', message })
      t.throws(() => read(env), { message: /^(?!.*hush-)/ })
    })
  }
})
