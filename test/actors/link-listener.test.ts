import type { Redis } from 'ioredis'
import { EventEmitter } from 'node:events'
import t from 'tap'
import { LinkListener } from '../../actors/link-listener.js'
import type { Health } from '../../schemas/conditions.js'

t.test('a channel that is left while Redis has yet to answer whether it is subscribed is no trouble of anybody', async t => {
  const lasting = new Set<string>()
  const health: Health = {
    begin: (_name, _reason, what = '') => { lasting.add(what) },
    end: (_name, what = '') => { lasting.delete(what) },
  }
  const refusals: Array<(error: Error) => void> = []
  const subscriber = Object.assign(new EventEmitter(), {
    ssubscribe: () => new Promise((_resolve, reject) => { refusals.push(reject) }),
    sunsubscribe: () => Promise.resolve(),
  }) as unknown as Redis
  const hello = Buffer.from('hello')
  const listener = new LinkListener({
    subscriber, publisher: subscriber, hello, helloEveryMs: 3_600_000, health, received: () => {},
  })
  t.teardown(() => listener.stop())

  const joined = [listener.join('left'), listener.join('kept')]
  await listener.leave('left')
  for (const refuse of refusals) refuse(new Error('it is away'))
  await Promise.all(joined)
  t.strictSame([...lasting], ['kept'])
})
