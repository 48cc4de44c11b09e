import fc from 'fast-check'
import t from 'tap'
import { appNamePattern, appOf, isAppName, shownUser, userIdOf, userInWords, userKey, userOf } from '../../schemas/apps.js'
import { isId } from '../../schemas/text.js'

const anyId = fc.string({ unit: 'binary', maxLength: 20 }).filter(isId)
const anyApp = fc.constantFrom('', 'shop', 'a', '0-0', 'x'.repeat(32))

t.test('The key of a user', async t => {
  t.test('is the id alone in the default app', async t => {
    t.equal(userKey('', 'ann'), 'ann')
    t.strictSame(userOf('ann'), { app: '', userId: 'ann' })
    t.strictSame(shownUser('ann'), { userId: 'ann' })
    t.equal(userInWords('ann'), 'ann')
  })

  t.test('names the app beside the id, and is no id itself', async t => {
    const key = userKey('shop', 'ann')
    t.strictSame(userOf(key), { app: 'shop', userId: 'ann' })
    t.strictSame(shownUser(key), { app: 'shop', userId: 'ann' })
    t.equal(userInWords(key), 'ann of the app shop')
    t.notOk(isId(key), 'nobody can ask for it by a user id')
  })

  t.test('is another one for each app and id', async t => {
    fc.assert(fc.property(anyApp, anyId, anyApp, anyId, (app, userId, otherApp, otherId) => {
      const key = userKey(app, userId)
      return appOf(key) === app && userIdOf(key) === userId &&
        (key === userKey(otherApp, otherId)) === (app === otherApp && userId === otherId)
    }))
  })
})

t.test('An app has a short name', async t => {
  for (const name of ['a', '7', 'shop', 'shop-eu-1', 'x'.repeat(32)]) t.ok(isAppName(name), name)
  const wrong = ['', '-', 'a-', '-a', 'Shop', 'a_b', 'a.b', 'ä', 'a\n', 'x'.repeat(33), 'a\u001fb', undefined, 7]
  for (const name of wrong) t.notOk(isAppName(name), JSON.stringify(name))
  t.ok(new RegExp(appNamePattern).test('shop'))
})
