import { readFileSync } from 'node:fs'
import t from 'tap'
import { digestOf, drawKey, idIn, keyFileSchema, parseKeyFile } from '../../../gateway/keys/key-file.js'
import { drawn } from './given.js'

const { stored } = drawn()
const messageFor = (text: string): string => {
  try {
    parseKeyFile(text, '/keys.json')
    return ''
  } catch (err) {
    return `${(err as Error).name} ${(err as Error).message}`
  }
}

t.test('A file of keys', async t => {
  t.test('is as its published schema says', async t => {
    const page = readFileSync(new URL('../../../../docs/api-keys.schema.json', import.meta.url), 'utf8')
    t.strictSame(JSON.parse(page), JSON.parse(JSON.stringify(keyFileSchema)))
  })

  t.test('may have no key, and all that a key can have', async t => {
    t.strictSame(parseKeyFile('{"keys":[]}', ''), { keys: [] })
    const { stored } = drawn({
      scopes: ['push', 'read', 'operate', 'admin'],
      requestsPerSecond: 1,
      recipientsPerSecond: 1_000_000,
      expiresAt: '2027-01-31T00:00:00.5+01:00',
      revokedAt: '2027-01-31T00:00Z',
    })
    t.strictSame(parseKeyFile(JSON.stringify({ keys: [stored] }), ''), { keys: [stored] })
  })

  const wrong: ReadonlyArray<[what: string, key: object, message: RegExp]> = [
    ['an unknown field', { ...stored, scope: 'push' }, /keys\/0: there is no field "scope"; there are id, name, sha256/],
    ['no name', { ...stored, name: undefined }, /keys\/0: want "name"/],
    ['an empty name', { ...stored, name: '' }, /keys\/0\/name/],
    ['a name that does things to a terminal', { ...stored, name: 'a\u001b[2J' }, /keys\/0\/name: want 1 to 128 bytes/],
    ['a name that is too long', { ...stored, name: 'ä'.repeat(65) }, /keys\/0\/name: want 1 to 128 bytes/],
    ['no scope', { ...stored, scopes: [] }, /keys\/0\/scopes must NOT have fewer than 1 item/],
    ['an unknown scope', { ...stored, scopes: ['push', 'root'] }, /keys\/0\/scopes\/1: want one of push, read, operate, admin/],
    ['a hash of another length', { ...stored, sha256: 'ab' }, /keys\/0\/sha256: want \^\[0-9a-f\]\{64\}\$/],
    ['a quota of nothing', { ...stored, requestsPerSecond: 0 }, /keys\/0\/requestsPerSecond must be >= 1/],
    ['a day without a time', { ...stored, expiresAt: '2027-01-31' }, /keys\/0\/expiresAt: want a time with a zone/],
    ['a time without a zone', { ...stored, expiresAt: '2027-01-31T00:00:00' }, /keys\/0\/expiresAt: want a time with a zone/],
    ['a day that there is not', { ...stored, expiresAt: '2027-13-31T00:00:00Z' }, /keys\/0\/expiresAt: want a time with a zone/],
  ]
  for (const [what, key, message] of wrong) {
    t.test(`with ${what} is refused in words`, async t => {
      t.match(messageFor(JSON.stringify({ keys: [key] })), message)
    })
  }

  t.test('has each id once', async t => {
    t.match(messageFor(JSON.stringify({ keys: [stored, stored] })), /^ConfigError \/keys.json: keys\/1\/id: there is another key/)
  })

  t.test('that is no JSON, or something else, is refused without a word of what is in it', async t => {
    const { key } = drawKey()
    for (const text of [key, `{"keys":${key}}`, JSON.stringify([key]), JSON.stringify({ keys: key })]) {
      const message = messageFor(text)
      t.match(message, /^ConfigError \/keys\.json: /)
      t.notMatch(message, key.slice(14, 20))
    }
    for (const field of ['id', 'sha256', 'scopes', 'createdAt', 'requestsPerSecond']) {
      const message = messageFor(JSON.stringify({ keys: [{ ...stored, [field]: key }] }))
      t.match(message, new RegExp(`keys/0/${field}`))
      t.notMatch(message, key.slice(14))
    }
  })
})

t.test('A key', async t => {
  t.test('has 256 random bits, its id in it, and is stored as its digest', async t => {
    const drawn = Array.from({ length: 50 }, drawKey)
    t.equal(new Set(drawn.map(({ key }) => key)).size, 50)
    for (const { key, id, sha256 } of drawn) {
      t.match(key, /^ll_[0-9a-f]{10}_[\w-]{43}$/)
      t.equal(idIn(key), id)
      t.equal(sha256, digestOf(key).toString('hex'))
    }
  })

  t.test('of another form has no id', async t => {
    for (const text of ['', 'the-key-of-a-test-node', 'll_', 'll_abcd_short', `${drawKey().key}x`, ` ${drawKey().key}`]) {
      t.equal(idIn(text), undefined, text)
    }
  })
})
