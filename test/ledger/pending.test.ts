import t from 'tap'
import { Pending, type Share } from '../../ledger/pending.js'

function share (): Share { return { sent: 0, own: 0 } }

function fits (pending: Pending, of: Share, bytes: number, own = false): boolean {
  try {
    pending.take(of, bytes, own)
    return true
  } catch {
    return false
  }
}

t.test('what clients fill leaves a quarter to what the gateway must write', async t => {
  const pending = new Pending(1000)
  t.equal(pending.full, false)
  for (let i = 0; i < 1000; i++) fits(pending, share(), 10)
  t.equal(pending.bytes, 750)
  t.equal(pending.full, true)
  const own = share()
  t.equal(fits(pending, own, 100, true), true)
  t.equal(pending.bytes, 850)
  pending.release(own, 100, true)
  t.equal(pending.bytes, 750)
})

t.test('a destination takes no more than it leaves free', async t => {
  const pending = new Pending(1000)
  const busy = share()
  while (fits(pending, busy, 10));
  t.equal(busy.sent, 380)
  t.equal(fits(pending, share(), 300), true, 'so that another one finds room')
  t.equal(fits(pending, busy, 10), false)
  t.equal(fits(pending, busy, 50, true), true, 'and what the gateway writes to the very same is not counted with it')
})

t.test('an append that is alone is taken whatever its size', async t => {
  const pending = new Pending(1000)
  const large = share()
  t.equal(fits(pending, large, 5000), true)
  t.throws(() => { pending.take(share(), 1, true) },
    { code: 'ledger-unavailable', message: /5000 bytes wait to be written, .* want at most 1000/ })
  pending.release(large, 5000, false)
  t.equal(fits(pending, share(), 1), true)
})
