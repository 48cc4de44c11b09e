import t from 'tap'
import { StoppedActors } from '../../actors/stopped-actors.js'

t.test('A user whose actor stops twice before the place where it did first is saved is to be set aside', async t => {
  const stopped = new StoppedActors()
  stopped.stopped('ann', 7n, new Error('first'))
  t.equal(stopped.reason('ann'), undefined)
  stopped.saved(7n)
  stopped.stopped('ann', 9n, new Error('second'))
  t.match(stopped.reason('ann'), { message: 'second' })
  t.equal(stopped.reason('bob'), undefined)
})

t.test('One whose state was saved behind that place begins anew', async t => {
  const stopped = new StoppedActors()
  stopped.stopped('ann', 7n, new Error('first'))
  stopped.saved(8n)
  stopped.stopped('ann', 9n, new Error('second'))
  t.equal(stopped.reason('ann'), undefined)
})
