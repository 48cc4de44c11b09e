import t from 'tap'
import { RecentSignals } from '../../actors/links-redis.js'
import type { SharedSignal, Signalled } from '../../actors/links.js'

t.test('signals that may come back', async t => {
  const signal = (bytes: number): SharedSignal => ({ service: '', payload: Buffer.alloc(bytes), encoded: new Map() })
  const to = (signal: SharedSignal, connectionId: string): Signalled =>
    ({ type: 'signal', nodeId: 'b', connectionId, signal })

  t.test('are found by their number, which is one for all connections', async t => {
    const signals = new RecentSignals()
    const hello = signal(10)
    const id = signals.idOf(to(hello, 'c1'))
    t.equal(signals.idOf(to(hello, 'c2')), id)
    t.equal(signals.get(id), hello)
    t.equal(signals.get(id + 1), undefined)
  })

  t.test('are forgotten by their bytes, the oldest first', async t => {
    const signals = new RecentSignals()
    const ids = Array.from({ length: 1_000 }, (_, i) => signals.idOf(to(signal(60_000), `c${i}`)))
    t.ok(signals.size > 100 && signals.size < 150, `${signals.size} of 16 MiB`)
    t.equal(signals.get(ids[0]!), undefined)
    t.ok(signals.get(ids.at(-1)!))
  })

  t.test('that are small count by how many they went to', async t => {
    const signals = new RecentSignals()
    const connectionIds = Array.from({ length: 1_000 }, (_, i) => `00000000-0000-0000-0000-00000000${i}`)
    for (let i = 0; i < 500; i++) {
      const hello = signal(10)
      for (const connectionId of connectionIds) signals.idOf(to(hello, connectionId))
    }
    t.ok(signals.size < 60, `${signals.size} with a thousand connections each`)
  })
})
