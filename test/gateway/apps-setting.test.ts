import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import t from 'tap'
import { Apps, appsIn, appsSchema } from '../../gateway/apps.js'
import { readConfig } from '../../gateway/read-config.js'
import { tokenIssuers } from '../../gateway/issuers.js'

const secret = 'hush-hush-hush-hush-hush-hush-hush'
const least = { name: 'shop', issuers: [{ issuer: 'shop', secret }] }
const bank = { name: 'bank', issuers: [{ issuer: 'bank', jwksUrl: 'https://id.example.com/jwks.json' }] }
const full = {
  name: 'shop-eu',
  issuers: [
    { issuer: ['a', 'b'], jwksUrl: 'https://id.example.com/jwks.json', audience: ['chat', 'mail'], userClaim: 'uid' },
    { issuer: 'c', secret, audience: 'chat' },
  ],
  apiKeysFile: '/etc/ledgerline/shop.json',
  quotas: { requestsPerSecond: 1, recipientsPerSecond: 1_000_000, connections: 5, outboxBytes: 1_048_576 },
  loginPolicy: 'user',
}

const read = (text: string, more: Record<string, string> = {}) => {
  const config = readConfig({ LEDGERLINE_APPS: text, ...more })
  return appsIn(config.apps, tokenIssuers(config), config.authUrl !== undefined)
}
const messageFor = (list: unknown, more: Record<string, string> = {}): string => {
  try {
    read(typeof list === 'string' ? list : JSON.stringify(list), more)
    return ''
  } catch (err) {
    return `${(err as Error).name} ${(err as Error).message}`
  }
}

t.test('Apps', async t => {
  t.test('are none where nothing is set', async t => {
    t.strictSame(readConfig({}).apps, undefined)
    const apps = new Apps()
    t.notOk(apps.areMany)
    t.ok(apps.has(''))
    t.equal(apps.outboxBytesMax('', 7), 7)
  })

  t.test('need no issuer where business is asked about tokens, and one where it is not', async t => {
    const auth = { LEDGERLINE_AUTH_URL: 'https://auth.example.com', LEDGERLINE_AUTH_SECRET: `whsec_${'A'.repeat(32)}` }
    t.match(read('[{ "name": "shop" }]', auth), [{ name: 'shop', issuers: [] }])
    t.match(messageFor([{ name: 'shop' }]), /LEDGERLINE_APPS\[0\]\.issuers: want a JSON array of 1 to 100 issuers/)
  })

  t.test('are read from JSON, or from a file of it', async t => {
    const wanted = [
      {
        name: 'shop-eu',
        issuers: [
          { names: ['a', 'b'], secret: undefined, jwksUrl: 'https://id.example.com/jwks.json', audiences: ['chat', 'mail'], userClaim: 'uid' },
          { names: ['c'], secret, jwksUrl: undefined, audiences: ['chat'], userClaim: 'sub' },
        ],
        apiKeysFile: '/etc/ledgerline/shop.json',
        quotas: full.quotas,
        loginPolicy: 'user',
      },
      {
        name: 'bank',
        issuers: [{ names: ['bank'], secret: undefined, jwksUrl: 'https://id.example.com/jwks.json', audiences: [], userClaim: 'sub' }],
        apiKeysFile: undefined,
        quotas: {},
        loginPolicy: undefined,
      },
    ]
    t.strictSame(read(JSON.stringify([full, bank])), wanted)
    const directory = t.testdir({ 'apps.json': `\n${JSON.stringify([full, bank])}\n` })
    t.strictSame(read(`${directory}/apps.json`), wanted)
    const apps = new Apps(read(JSON.stringify([full, bank])))
    t.equal(apps.outboxBytesMax('shop-eu', 7), 1_048_576)
    t.equal(apps.outboxBytesMax('bank', 7), 7)
    t.strictSame(apps.keyFiles('/ours.json'), [
      { app: '', path: '/ours.json' }, { app: 'shop-eu', path: '/etc/ledgerline/shop.json' },
    ])
  })

  /** What the schema refuses, and we as well; both take what is good. */
  const byShape: ReadonlyArray<[what: string, list: unknown, message: RegExp]> = [
    ['no list', { apps: [least] }, /^ConfigError LEDGERLINE_APPS: /],
    ['an empty list', [], /must NOT have fewer than 1 item/],
    ['no object', ['shop'], /LEDGERLINE_APPS: 0 must be object/],
    ['an unknown field', [{ ...least, quota: {} }], /0: there is no field "quota"; there are name, issuers, apiKeysFile/],
    ['no name', [{ issuers: least.issuers }], /0: want "name"/],
    ['a name in capitals', [{ ...least, name: 'Shop' }], /0\/name: want /],
    ['a name that is too long', [{ ...least, name: 'x'.repeat(33) }], /0\/name: want /],
    ['a name with the separator', [{ ...least, name: 'a\u001fb' }], /0\/name: want /],
    ['an empty list of issuers', [{ ...least, issuers: [] }], /0\/issuers must NOT have fewer/],
    ['an issuer without a name', [{ ...least, issuers: [{ secret }] }], /0\/issuers\/0: want "issuer"/],
    ['an issuer without keys', [{ ...least, issuers: [{ issuer: 'a' }] }], /0\/issuers\/0/],
    ['an issuer with two kinds of keys', [{ ...least, issuers: [{ ...bank.issuers[0], secret }] }], /0\/issuers\/0 must match exactly one/],
    ['a short secret', [{ ...least, issuers: [{ issuer: 'a', secret: 'short' }] }], /0\/issuers\/0\/secret must NOT have fewer than 32/],
    ['a key set that is no URL', [{ ...least, issuers: [{ issuer: 'a', jwksUrl: 'id.example.com' }] }], /0\/issuers\/0\/jwksUrl: want /],
    ['a key set with a login', [{ ...least, issuers: [{ issuer: 'a', jwksUrl: 'https://u:p@id.example.com' }] }], /jwksUrl: want /],
    ['a file without a name', [{ ...least, apiKeysFile: '' }], /0\/apiKeysFile must NOT have fewer/],
    ['a quota of nothing', [{ ...least, quotas: { connections: 0 } }], /0\/quotas\/connections must be >= 1/],
    ['an unknown quota', [{ ...least, quotas: { frames: 1 } }], /0\/quotas: there is no field "frames"; there are requestsPerSecond/],
    ['a small outbox', [{ ...least, quotas: { outboxBytes: 1_000 } }], /outboxBytes must be >= 1048576/],
    ['an unknown login policy', [{ ...least, loginPolicy: 'one' }], /0\/loginPolicy: want one of device, platform, user, none/],
  ]
  const accepts = new Ajv().compile(JSON.parse(readFileSync(new URL('../../../docs/apps.schema.json', import.meta.url), 'utf8')))
  t.test('are as their published schema says, and nothing else is taken', async t => {
    t.strictSame(JSON.parse(readFileSync(new URL('../../../docs/apps.schema.json', import.meta.url), 'utf8')),
      JSON.parse(JSON.stringify(appsSchema)), 'docs/apps.schema.json is the schema')
    for (const list of [[least], [bank], [least, bank], [full]]) {
      t.equal(messageFor(list), '')
      t.ok(accepts(list))
    }
    for (const [what, list, message] of byShape) {
      const told = messageFor(list)
      t.match(told, message, what)
      t.notOk(told.includes('hush'), told)
      t.notOk(accepts(list), what)
    }
  })

  const among: ReadonlyArray<[what: string, list: unknown, message: RegExp, more?: Record<string, string>]> = [
    ['no JSON', `[${secret}`, /^ConfigError LEDGERLINE_APPS: got something else than JSON/],
    ['no file', '/not/there', /got "\/not\/there", want .* \(ENOENT\)/],
    ['an app twice', [least, { ...least, issuers: bank.issuers }], /got the app "shop" twice/],
    ['an issuer in two apps', [least, { ...bank, issuers: [{ issuer: 'shop', secret: `${secret}!` }] }], /got the issuer "shop" twice/],
    ['an issuer of the default app', [least], /got the issuer "shop" twice/, { LEDGERLINE_JWT_ISSUER: 'shop' }],
    ['a secret in two apps', [least, { ...bank, issuers: [{ issuer: 'bank', secret }] }], /bank has a secret that shop has, too/],
    ['the secret of the default app', [least], /shop has a secret that the default app has, too/, { LEDGERLINE_JWT_SECRET: secret }],
    ['a file of keys in two apps', [{ ...least, apiKeysFile: '/a/k.json' }, { ...bank, apiKeysFile: '/a/../a/k.json' }], /got the file of API keys "\/a\/k.json" twice/],
    ['an issuer that is empty', [{ ...least, issuers: [{ ...least.issuers[0], issuer: '' }] }], /issuer/],
  ]
  for (const [what, list, message, more] of among) {
    t.test(`with ${what} are refused, and no secret is told`, async t => {
      const told = messageFor(list, more)
      t.match(told, message)
      t.notOk(told.includes('hush'), told)
    })
  }
})

t.test('Whoever goes by the apps is told of a change once, whatever becomes of another one', async t => {
  const [shop] = appsIn(JSON.stringify([least]), [], false)
  const apps = new Apps([shop!])
  const told: string[][] = []
  apps.onChange(() => { throw new Error('a file is away') })
  apps.onChange(before => { told.push([...before.keys()]) })
  t.throws(() => { apps.replace([]) }, { message: 'a file is away' })
  t.strictSame(told, [['shop']], 'or connections of an app that is gone would stay')
})
