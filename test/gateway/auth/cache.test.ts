import t from 'tap'
import type { AuthAnswer } from '../../../gateway/auth/answer.js'
import { AuthCache, cacheKey } from '../../../gateway/auth/cache.js'

const answer = (reason: string, cacheMs = 60_000): AuthAnswer =>
  ({ verdict: { result: 'refuse', code: 'bad-token', reason, retryAfterMs: 0 }, cacheMs })
const question = (token: string, deviceId: string) =>
  ({ frame: 'connect', token, deviceId, platform: '', client: '', address: '' }) as const

t.test('A cache of answers', async t => {
  t.test('holds so many, and the first ones make room', async t => {
    const cache = new AuthCache({ answersMax: 3, bytesMax: 1 << 20 })
    for (const key of ['a', 'b', 'c', 'd']) cache.put(key, answer(key), 10)
    t.equal(cache.size, 3)
    t.equal(cache.get('a'), undefined)
    t.match(cache.get('d'), answer('d'))
  })

  t.test('holds so many bytes, and counts each once', async t => {
    const cache = new AuthCache({ answersMax: 1_000, bytesMax: 10_000 })
    for (let i = 0; i < 100; i++) cache.put('same', answer('same'), 2_000)
    t.equal(cache.size, 1)
    for (const key of ['a', 'b', 'c']) cache.put(key, answer(key), 2_000)
    t.equal(cache.size, 3, 'of 2,512 each')
    t.equal(cache.get('same'), undefined)
    cache.put('huge', answer('huge'), 20_000)
    t.equal(cache.size, 0, 'what has no room is not kept, either')
  })

  t.test('keeps nothing that is not to be kept, and the newest answer of one question', async t => {
    const cache = new AuthCache()
    cache.put('a', answer('old'), 10)
    cache.put('a', answer('new'), 10)
    t.match(cache.get('a'), answer('new'))
    cache.put('a', answer('now', 0), 10)
    t.equal(cache.get('a'), undefined, 'nor what stood before')
  })

  t.test('tells tokens and devices apart, and has neither in its key', async t => {
    t.not(cacheKey(question('ab', 'c')), cacheKey(question('a', 'bc')))
    t.equal(cacheKey(question('a', 'b')), cacheKey({ ...question('a', 'b'), address: 'elsewhere' }))
    t.match(cacheKey(question('a-secret-token', 'phone')), /^[A-Za-z0-9+/]{43}=$/)
  })
})
