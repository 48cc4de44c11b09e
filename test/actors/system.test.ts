import t, { type Test } from 'tap'
import { startActors } from '../../actors/system.js'

/** An actor that notes what it handles, and works on a message for as long as the test says. */
function given (t: Test) {
  const handled: string[] = []
  const crashes: string[] = []
  let done: (() => void) | undefined
  const system = startActors()
  t.teardown(() => { system.stop() })
  const actor = system.spawn<object, string>({
    receive (state, message) {
      if (message === 'crash') throw new Error('planted')
      handled.push(message)
      if (message !== 'wait') return state
      return new Promise(resolve => { done = () => { resolve(state) } })
    },
    crashed (_state, message, { message: why }) { crashes.push(`${message}: ${why}`) },
  }, {})
  return { handled, crashes, actor, finish: () => { done!() } }
}

async function turns (): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(resolve => setImmediate(resolve))
}

t.test('An actor', async t => {
  t.test('handles what it was told while it worked, in order, and so again later', async t => {
    const { handled, actor, finish } = given(t)
    for (const round of ['a', 'b']) {
      for (const message of ['wait', `${round}1`, `${round}2`]) actor.tell(message)
      await turns()
      actor.tell(`${round}3`)
      await turns()
      t.equal(handled.at(-1), 'wait')
      finish()
      await turns()
      actor.tell(`${round}4`)
      await turns()
    }
    t.strictSame(handled, ['wait', 'a1', 'a2', 'a3', 'a4', 'wait', 'b1', 'b2', 'b3', 'b4'])
  })

  t.test('takes nothing of what another one was told', async t => {
    const [first, second] = [given(t), given(t)]
    for (const message of ['wait', 'x', 'y']) first.actor.tell(message)
    second.actor.tell('z')
    await turns()
    t.strictSame(second.handled, ['z'])
    first.finish()
    await turns()
    t.strictSame(first.handled, ['wait', 'x', 'y'])
    t.strictSame(second.handled, ['z'])
  })

  t.test('that is stopped drops what waits, and what it is told then', async t => {
    const { handled, actor, finish } = given(t)
    for (const message of ['wait', 'x']) actor.tell(message)
    await turns()
    actor.stop()
    actor.tell('y')
    finish()
    await turns()
    t.strictSame(handled, ['wait'])
  })

  t.test('that crashes tells why, and handles nothing more', async t => {
    const { handled, crashes, actor } = given(t)
    for (const message of ['x', 'crash', 'y']) actor.tell(message)
    await turns()
    actor.tell('z')
    await turns()
    t.strictSame(handled, ['x'])
    t.strictSame(crashes, ['crash: planted'])
  })
})
