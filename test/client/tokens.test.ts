import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { GiveUp } from '../../client/node.js'
import type { ClientOptions } from '../../client/node.js'
import { Tokens } from '../../client/tokens.js'
import { tokenUntil } from './given.js'
import { VirtualClock } from './virtual-clock.js'

t.test('Tokens', async t => {
  function given (getToken: ClientOptions['getToken']) {
    const gaveUp: string[] = []
    const clock = new VirtualClock()
    const renewed: string[] = []
    const tokens = new Tokens({
      clock, random: () => 0, getToken, renewed: token => renewed.push(token), gaveUp: reason => gaveUp.push(reason),
    })
    return { clock, tokens, renewed, gaveUp }
  }

  t.test('that never come are given up after 30 s, whatever they do then', async t => {
    let fail = (_error: Error) => {}
    const { clock, tokens } = given(async () => await new Promise((_resolve, reject) => { fail = reject }))
    const asked = tokens.ask(false)
    await sleep(1)
    clock.pass(30_000)
    await t.rejects(asked, { message: 'no answer for 30000 ms' })
    fail(new Error('late'))
  })

  t.test('are trimmed, for files and curl put a newline behind them', async t => {
    t.equal(await given(() => ' a.b.c\n').tokens.ask(false), 'a.b.c')
  })

  t.test('that are too long for a frame are none', async t => {
    await t.rejects(given(() => 'a'.repeat(20_000)).tokens.ask(false), { message: /of 20000 characters, want a JWT/ })
  })

  /** Lets time pass in small steps, so that what is asked for is there before the next one. */
  async function pass (clock: VirtualClock, ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1000) {
      clock.pass(Math.min(1000, left))
      await setImmediate()
    }
  }

  t.test('are asked for at 80 % of the time of the one in use, by the clock of the server', async t => {
    const { clock, tokens, renewed } = given(() => 'next')
    tokens.begin(tokenUntil(1_000_100), 1_000_000_000)
    await pass(clock, 79_000)
    t.strictSame(renewed, [])
    await pass(clock, 1_000)
    t.strictSame(renewed, ['next'])
    tokens.accepted(1_000_000_000 + 280_000)
    await pass(clock, 160_000)
    t.strictSame(renewed, ['next'], 'the same one again is none')
  })

  t.test('are asked for again where there was none, until the old one is over', async t => {
    let asked = 0
    const { clock, tokens, renewed, gaveUp } = given(() => {
      if (++asked < 4) throw new Error('not now')
      return 'next'
    })
    tokens.begin(tokenUntil(1_000_100), 1_000_000_000)
    await pass(clock, 99_000)
    t.ok(asked >= 4, `asked ${asked} times`)
    t.strictSame([renewed[0], gaveUp], ['next', []])
    const before = asked
    tokens.stop()
    await pass(clock, 99_000)
    t.equal(asked, before, 'nor once there is no connection')
  })

  t.test('that come when the connection is gone are of no use', async t => {
    let answer = (_token: string) => {}
    const { clock, tokens, renewed } = given(async () => await new Promise(resolve => { answer = resolve }))
    tokens.begin(tokenUntil(1_000_100), 1_000_000_000)
    clock.pass(81_000)
    await setImmediate()
    tokens.stop()
    answer('next')
    await setImmediate()
    t.strictSame(renewed, [], 'least of all before the next one is connected')
  })

  t.test('that are good for a year are asked for then, and those without an end never', async t => {
    const year = 365 * 86_400
    let asked = 0
    const { clock, tokens } = given(() => `next ${++asked}`)
    tokens.begin(tokenUntil(1_000_000 + year), 1_000_000_000)
    clock.pass(0.79 * year * 1000)
    t.equal(asked, 0)
    clock.pass(0.011 * year * 1000)
    t.equal(asked, 1)
    await setImmediate()
    tokens.accepted(0)
    clock.pass(year * 1000)
    t.equal(asked, 1)
  })

  t.test('that the application says there will be none of end the client', async t => {
    const { clock, tokens, gaveUp } = given(() => { throw new GiveUp('log in again') })
    tokens.begin(tokenUntil(1_000_100), 1_000_000_000)
    await pass(clock, 81_000)
    t.strictSame(gaveUp, ['log in again'])
  })
})
