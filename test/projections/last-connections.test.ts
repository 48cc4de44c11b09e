import t from 'tap'
import type { ClosedSlot } from '../../projections/closed.js'
import { LastConnections } from '../../projections/last-connections.js'

const phone = { userId: 'ann', deviceId: 'phone', resumable: true }

t.test('the last connection of a device', async t => {
  t.test('is the one that closed last', async t => {
    const last = new LastConnections([])
    last.note(0, 'c1', phone)
    last.note(1, 'c2', phone)
    t.equal(last.of('ann', 'phone'), 'c2')
    t.equal(last.of('annp', 'hone'), '')
  })

  t.test('is none where its session ended', async t => {
    const last = new LastConnections([])
    last.note(0, 'c1', phone)
    last.note(1, 'c2', { ...phone, resumable: false })
    t.equal(last.of('ann', 'phone'), '')
  })

  t.test('is forgotten once so many others closed, and not with an older one of the same device', async t => {
    const last = new LastConnections([], 3)
    last.note(0, 'c1', phone)
    last.note(1, 'c2', phone)
    last.note(2, 'c3', undefined)
    last.note(3, 'c4', { ...phone, userId: 'bob' })
    t.equal(last.of('ann', 'phone'), 'c2')
    last.note(4, 'c5', { ...phone, userId: 'cleo' })
    t.equal(last.of('ann', 'phone'), '')
    t.equal(last.of('bob', 'phone'), 'c4')
  })

  t.test('is the same after a restart', async t => {
    const last = new LastConnections([])
    const slots: ClosedSlot[] = [
      last.note(0, 'c1', phone), last.note(1, 'c2', undefined), last.note(2, 'c3', { ...phone, userId: 'bob', resumable: false }),
    ]
    const again = new LastConnections(JSON.parse(JSON.stringify(slots)) as ClosedSlot[])
    for (const userId of ['ann', 'bob']) t.equal(again.of(userId, 'phone'), last.of(userId, 'phone'))
  })
})
