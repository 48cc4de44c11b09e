import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { systemClock } from '../../client/clock.js'
import { inMemory } from '../../client/node.js'
import { SeenMessages } from '../../client/seen-messages.js'
import { Keeper } from '../../client/storage/keeper.js'

t.test('SeenMessages', async t => {
  t.test('knows the last 1,000, also in the next run', async t => {
    const storage = inMemory()
    const seen = new SeenMessages(new Keeper(storage, { clock: systemClock, failed: err => { throw err } }))
    for (let seq = 1; seq <= 1500; seq++) seen.add(seq, `m${seq}`)
    await setImmediate()
    const next = new SeenMessages(new Keeper(undefined, { clock: systemClock, failed: () => {} }))
    next.restore(await storage.open(() => {}))
    for (const each of [seen, next]) {
      t.notOk(each.has('m500'))
      t.ok(each.has('m501'))
      t.ok(each.has('m1500'))
    }
  })
})
