import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import t from 'tap'
import { answerOf, authSchema } from '../../../gateway/auth/answer.js'

const docs = (name: string) => readFileSync(new URL(`../../../../docs/${name}`, import.meta.url), 'utf8')
const published = JSON.parse(docs('auth.schema.json'))
const accepts = new Ajv().compile(published)
const acceptsQuestion = new Ajv().compile({ ...published, oneOf: undefined, $ref: '#/definitions/question' })
const taken = (answer: unknown): boolean => {
  try {
    answerOf(JSON.stringify(answer), app => app === '' || app === 'shop')
    return true
  } catch {
    return false
  }
}

t.test('docs/auth.schema.json', async t => {
  t.test('is the schema that answers are checked by', async t => {
    t.strictSame(published, JSON.parse(JSON.stringify(authSchema)))
  })

  t.test('accepts what is taken, and nothing that is not for its form', async t => {
    const allow = { result: 'allow', userId: 'ann' }
    const refuse = { result: 'refuse', code: 'bad-token' }
    for (const good of [
      allow,
      { ...allow, app: 'shop', deviceId: 'phone', tokenId: 't', expiresAtMs: 0, rooms: {}, cacheMs: 86_400_000 },
      refuse,
      { ...refuse, reason: 'x'.repeat(256), retryAfterMs: 3_600_000, cacheMs: 0 },
    ]) {
      t.ok(accepts(good), JSON.stringify(good).slice(0, 60))
      t.ok(taken(good))
    }
    for (const bad of [
      null, [], 'allow', {}, { result: 'allow' }, { userId: 'ann' }, { ...allow, userId: 7 }, { ...allow, exp: 1 },
      { ...allow, code: 'banned' },
      { ...allow, expiresAtMs: -1 }, { ...allow, expiresAtMs: 1.5 }, { ...allow, expiresAtMs: null },
      { ...allow, rooms: [] },
      { ...allow, cacheMs: 86_400_001 }, { ...allow, cacheMs: '5' }, { ...allow, app: 'Shop' }, { ...allow, deviceId: null },
      { ...refuse, code: 'kicked' }, { result: 'refuse' }, { ...refuse, userId: 'ann' }, { ...refuse, retryAfterMs: 3_600_001 },
    ]) {
      t.notOk(accepts(bad), JSON.stringify(bad))
      t.notOk(taken(bad))
    }
  })
})

t.test('The examples of operations.md', async t => {
  const [, section = ''] = /### Asking a service\n([^]*?)\n## /.exec(docs('operations.md')) ?? []
  const examples = [...section.matchAll(/^\{"?.*\}$/gm)].map(([line]) => JSON.parse(line) as Record<string, unknown>)
  t.equal(examples.length, 3)
  for (const example of examples) {
    if (example['result'] === undefined) {
      t.ok(acceptsQuestion(example))
      t.strictSame(Object.keys(example).sort(), Object.keys(authSchema.definitions.question.properties).sort())
    } else t.ok(accepts(example) && taken(example))
  }
})
