import t from 'tap'
import { Places } from '../../../gateway/http/places.js'

const overloaded = { code: 'overloaded', message: '2 readers are the bound' }

t.test('Places', async t => {
  t.test('are for all apps together, and one that is given back is free', async t => {
    const places = new Places(2)
    const giveBack = places.take('shop')
    places.take('bank')
    t.throws(() => places.take('shop'), overloaded)
    t.throws(() => places.take('bank'), overloaded)
    giveBack()
    places.take('bank')
    t.throws(() => places.take('bank'), overloaded)
  })

  t.test('are full to no app that has none', async t => {
    const places = new Places(2)
    places.take('shop')
    places.take('shop')
    for (const app of ['bank', '']) {
      const giveBack = places.take(app)
      t.throws(() => places.take(app), overloaded)
      giveBack()
      places.take(app)
    }
  })
})
