import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import t from 'tap'
import { readConfig } from '../../../gateway/read-config.js'
import { publicStreams } from '../../../gateway/streams/public.js'
import { webhookStreams } from '../../../gateway/webhooks/events.js'
import { webhooksIn, webhooksSchema } from '../../../gateway/webhooks/setting.js'

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const least = { name: 'crm', url: 'https://crm.example.com/hook?tenant=7', secret, streams: ['uplinks'] }
const full = {
  ...least,
  name: 'all',
  secret: [secret, 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'],
  streams: ['uplinks', 'connections', 'posts'],
  app: 'shop',
  services: ['orders', ''],
  users: ['ann'],
  since: '2027-01-31T00:00:00Z',
  batch: 50,
  lingerMs: 20,
  timeoutMs: 500,
  concurrency: 4,
  giveUpAfterMs: 60_000,
  reply: true,
}
const hasApp = (app: string) => app === '' || app === 'shop'
const messageFor = (list: unknown): string => {
  try {
    webhooksIn(typeof list === 'string' ? list : JSON.stringify(list), hasApp)
    return ''
  } catch (err) {
    return `${(err as Error).name} ${(err as Error).message}`
  }
}

t.test('Webhooks', async t => {
  t.test('are none where nothing is set', async t => {
    t.equal(readConfig({}).webhooks, undefined)
    t.strictSame(webhooksIn(undefined, hasApp), [])
  })

  t.test('are read from JSON, or from a file of it', async t => {
    const directory = t.testdir({ 'webhooks.json': JSON.stringify([least, full]), 'ca.pem': 'a certificate' })
    const given = JSON.stringify([least, full])
    t.strictSame(webhooksIn(given, hasApp), webhooksIn(`${directory}/webhooks.json`, hasApp))
    const [first, second] = webhooksIn(given, hasApp)
    t.match(first, { app: '', services: undefined, sinceMs: 0, batch: 1, lingerMs: 0, concurrency: 16, giveUpAfterMs: 86_400_000, reply: false })
    t.match(second, { sinceMs: Date.UTC(2027, 0, 31), batch: 50, secrets: [Buffer.from(secret.slice(6), 'base64'), {}] })
    const [withCa] = webhooksIn(JSON.stringify([{ ...least, caFile: `${directory}/ca.pem` }]), hasApp)
    t.equal(withCa!.ca, 'a certificate')
    t.not(withCa!.given, first!.given, 'whose certificates have changed has changed')
  })

  const published = JSON.parse(readFileSync(new URL('../../../../docs/webhooks.schema.json', import.meta.url), 'utf8'))
  const accepts = new Ajv({ formats: { moment: text => !Number.isNaN(Date.parse(text)) } }).compile(published)
  /** What the schema refuses, and we as well; both take what is good. */
  const byShape: ReadonlyArray<[what: string, list: unknown, message: RegExp]> = [
    ['no list', { webhooks: [least] }, /^ConfigError LEDGERLINE_WEBHOOKS: /],
    ['an unknown field', [{ ...least, header: 'x' }], /0: there is no field "header"; there are name, url, /],
    ['no name', [{ ...least, name: undefined }], /0: want "name"/],
    ['a name in capitals', [{ ...least, name: 'CRM' }], /0\/name: want /],
    ['no secret', [{ ...least, secret: undefined }], /0: want "secret"/],
    ['a secret without its beginning', [{ ...least, secret: secret.slice(6) }], /0\/secret: want /],
    ['a short secret', [{ ...least, secret: 'whsec_MfKQ9r8G' }], /0\/secret: want /],
    ['a URL with a login', [{ ...least, url: 'https://me:word@crm.example.com/' }], /0\/url: want /],
    ['a URL of files', [{ ...least, url: 'file:///etc/passwd' }], /0\/url: want /],
    ['no stream', [{ ...least, streams: [] }], /0\/streams must NOT have fewer/],
    ['a stream that is nobody\'s', [{ ...least, streams: ['ledger'] }], /0\/streams\/0: want one of uplinks, connections, /],
    ['a batch of nothing', [{ ...least, batch: 0 }], /0\/batch must be >= 1/],
    ['a moment without a zone', [{ ...least, since: 'yesterday' }], /0\/since: want a time with a zone/],
  ]
  t.test('are as their published schema says, and nothing else is taken', async t => {
    t.strictSame(published, JSON.parse(JSON.stringify(webhooksSchema)), 'docs/webhooks.schema.json is the schema')
    for (const list of [[], [least], [least, full]]) {
      t.equal(messageFor(list), '')
      t.ok(accepts(JSON.parse(JSON.stringify(list))))
    }
    for (const [what, list, message] of byShape) {
      const told = messageFor(list)
      t.match(told, message, what)
      t.notOk(/MfKQ9r8G|word/.test(told), told)
      t.notOk(accepts(JSON.parse(JSON.stringify(list))), what)
    }
  })

  t.test('may have every stream that is read over HTTP', async t => {
    t.strictSame([...webhookStreams.keys()], publicStreams.map(({ stream }) => stream.name))
  })

  for (const [what, list, message] of [
    ['no JSON', `[${secret}`, /^ConfigError LEDGERLINE_WEBHOOKS: got something else than JSON/],
    ['no file', '/not/there', /got "\/not\/there", want .* \(ENOENT\)/],
    ['a webhook twice', [least, least], /got the webhook crm twice/],
    ['an app that there is not', [{ ...least, app: 'bank' }], /\[0\]\.app: got "bank"/],
    ['an app\'s webhook for what is of no app', [{ ...least, app: 'shop', streams: ['nodes'] }], /\[0\]\.streams: got nodes/],
    ['a file of certificates that is not there', [{ ...least, caFile: '/not/there' }], /caFile: got "\/not\/there", want .* \(ENOENT\)/],
  ] as const) {
    t.test(`with ${what} are refused, and no secret is told`, async t => {
      const told = messageFor(list)
      t.match(told, message)
      t.notOk(told.includes('MfKQ9r8G'), told)
    })
  }

  t.test('that are wrong keep a node from starting', async t => {
    t.throws(() => readConfig({ LEDGERLINE_WEBHOOKS: '/not/there' }), { message: /LEDGERLINE_WEBHOOKS/ })
  })
})
