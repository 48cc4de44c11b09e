import t from 'tap'
import { WaitProbe } from '../../actors/wait-probe.js'

const turn = () => new Promise(resolve => setImmediate(resolve))

t.test('WaitProbe', async t => {
  t.test('counts all that came, once', async t => {
    const probe = new WaitProbe()
    probe.given(3)
    probe.given(4)
    t.equal(probe.take().count, 7)
    t.strictSame(probe.take(), { count: 0, ms: 0 })
  })

  t.test('measures until those have had their turn that were there before', async t => {
    const probe = new WaitProbe()
    setImmediate(() => { for (const until = performance.now() + 30; performance.now() < until;); })
    for (let i = 0; i < 16; i++) probe.given(1)
    setImmediate(() => { for (const until = performance.now() + 1_000; performance.now() < until;); })
    await turn()
    const { ms } = probe.take()
    t.ok(ms >= 29 && ms < 1_000, `${ms}`)
  })

  t.test('does not count time that nothing waits for', async t => {
    const probe = new WaitProbe()
    for (let i = 0; i < 16; i++) probe.given(1)
    await turn()
    await new Promise(resolve => setTimeout(resolve, 50))
    t.equal(probe.take().ms > 0, true)
    await turn()
    t.equal(probe.take().ms, 0)
  })
})
