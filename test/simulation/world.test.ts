import { readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import t from 'tap'
import { Random } from '../../simulation/random.js'
import { Trace } from '../../simulation/trace.js'
import { World } from '../../simulation/world.js'

function begun (seed = 1): World {
  const world = new World()
  world.begin(seed, new Trace())
  return world
}

t.test('A world', async t => {
  await t.test('goes from one event to the next, and to the time that was asked for', async t => {
    const world = begun()
    const seen: Array<[string, number]> = []
    const see = (what: string) => () => { seen.push([what, world.nowMs]) }
    world.outside.later(3_600_000, 'late', see('late'))
    world.outside.later(5, 'second', see('second'))
    world.outside.later(1, 'first', see('first'))
    world.outside.later(2, 'cancelled', see('cancelled'))()
    await world.run(1_000)
    t.strictSame(seen, [['first', 1], ['second', 5]])
    t.equal(world.nowMs, 1_000)
    await world.run(3_600_000)
    t.strictSame(seen.at(-1), ['late', 3_600_000])
  })

  await t.test('has all that follows from an event by promises done before the next one', async t => {
    const world = begun()
    const seen: string[] = []
    world.outside.later(1, 'first', () => {
      (async () => {
        for (let i = 0; i < 50; i++) await undefined
        process.nextTick(() => { queueMicrotask(() => { seen.push('what followed') }) })
      })()
    })
    world.outside.later(1, 'second', () => { seen.push('second') })
    await world.run(10)
    t.strictSame(seen, ['what followed', 'second'])
  })

  await t.test('stands still for real work, and goes on with its results in the order in which it was asked for', async t => {
    const world = begun()
    const seen: string[] = []
    const work = async (what: string, ms: number) => {
      await world.errand(new Promise<void>(resolve => { setTimeout(resolve, ms) }))
      seen.push(`${what} at ${world.nowMs}`)
    }
    world.outside.later(1, 'asks', () => {
      work('slow', 30)
      work('quick', 1)
    })
    world.outside.later(2, 'later', () => { seen.push('later') })
    await world.run(10)
    t.strictSame(seen, ['slow at 1', 'quick at 1', 'later'])
  })

  await t.test('says so where the real machine is asked for anything else, whose answer would come in nobody\'s turn', async t => {
    const world = begun()
    const told: string[] = []
    world.uncaught = error => { told.push((error as Error).message) }
    let asked: Promise<unknown> = Promise.resolve()
    world.outside.later(1, 'asks', () => { asked = stat('.') })
    world.outside.later(2, 'later', () => { readFileSync(new URL(import.meta.url)) })
    await world.run(10)
    t.match(told, ['the real machine was asked for something: FSReqPromise'])
    await asked
    const before = told.length
    await world.run(10)
    t.equal(told.length, before, 'and nothing else once it has answered')
  })

  await t.test('that begins anew has no time behind it and nothing before it', async t => {
    const world = begun()
    const seen: string[] = []
    world.host('a', '1').later(20, 'old', () => { seen.push('old') })
    await world.run(10)
    world.begin(1, new Trace())
    t.equal(world.nowMs, 0)
    world.host('a', '1').later(20, 'new', () => { seen.push('new') })
    await world.run(30)
    t.strictSame(seen, ['new'])
    t.equal(world.events, 1)
  })

  await t.test('keeps the order of one host at one moment, and draws that of several from the seed', async t => {
    const orders = new Set<string>()
    for (let seed = 1; seed <= 40; seed++) {
      const world = begun(seed)
      const seen: string[] = []
      for (const host of [world.host('a', '1'), world.host('b', '2')]) {
        for (const i of [1, 2]) host.later(1, 'turn', () => { seen.push(`${host.name}${i}`) })
      }
      await world.run(2)
      t.ok(seen.indexOf('a1') < seen.indexOf('a2') && seen.indexOf('b1') < seen.indexOf('b2'))
      orders.add(seen.join())
    }
    t.strictSame([...orders].sort(), ['a1,a2,b1,b2', 'b1,b2,a1,a2'])
  })
})

t.test('A host', async t => {
  await t.test('that has crashed does nothing any more', async t => {
    const world = begun()
    const host = world.host('a', '1')
    let turns = 0
    const turn = () => { turns++; host.later(1, 'turn', turn) }
    turn()
    world.outside.later(10.5, 'crash', () => { host.crash() })
    await world.run(100)
    t.equal(turns, 11)
  })

  await t.test('that is paused does later what was due, in its order', async t => {
    const world = begun()
    const host = world.host('a', '1')
    const seen: string[] = []
    for (const ms of [30, 10, 50]) host.later(ms, 'turn', () => { seen.push(`${ms} at ${world.nowMs}`) })
    host.pause()
    world.outside.later(40, 'resume', () => { host.resume() })
    await world.run(100)
    t.strictSame(seen, ['10 at 40', '30 at 40', '50 at 50'])
  })

  await t.test('that goes on after a pause can still cancel what was due in it', async t => {
    const world = begun()
    const host = world.host('a', '1')
    const seen: string[] = []
    const cancel = host.later(20, 'late', () => { seen.push('late') })
    host.later(10, 'early', () => { cancel() })
    host.pause()
    world.outside.later(40, 'resume', () => { host.resume() })
    await world.run(100)
    t.strictSame(seen, [])
  })

  await t.test('that is busy takes one turn after the other, in the order in which they were due', async t => {
    const world = begun()
    const host = world.host('a', '1')
    const seen: string[] = []
    const see = (what: string) => () => { seen.push(`${what} at ${world.nowMs}`) }
    host.turnUs = 10_000
    host.later(3, 'third', see('third'))
    host.later(1, 'first', () => {
      see('first')()
      host.later(0, 'what followed', see('what followed'))
    })
    host.later(2, 'second', see('second'))
    const cancel = host.later(4, 'cancelled', see('cancelled'))
    world.outside.later(15, 'cancels', cancel)
    world.host('b', '2').later(5, 'another one', see('another one'))
    world.outside.later(6, 'something comes', () => { host.now('has come', see('has come')) })
    await world.run(200)
    t.strictSame(seen, [
      'first at 1', 'another one at 5', 'what followed at 11', 'second at 21', 'third at 31', 'has come at 41',
    ])
    t.equal(host.busyUs, 50_000)
  })

  await t.test('that is busy no longer does at once what has waited, and one that ends meanwhile never does it', async t => {
    for (const ends of [false, true]) {
      const world = begun()
      const host = world.host('a', '1')
      const seen: number[] = []
      host.turnUs = 10_000
      for (let i = 0; i < 4; i++) host.later(1, 'turn', () => { seen.push(world.nowMs) })
      world.outside.later(12, 'the end of it', () => {
        host.turnUs = 0
        if (ends) host.crash()
      })
      await world.run(100)
      t.strictSame(seen, ends ? [1, 11] : [1, 11, 21, 21])
    }
  })

  await t.test('that is paused while it is busy goes on with what has waited', async t => {
    const world = begun()
    const host = world.host('a', '1')
    const seen: number[] = []
    host.turnUs = 10_000
    for (let i = 0; i < 3; i++) host.later(1, 'turn', () => { seen.push(world.nowMs) })
    world.outside.later(5, 'a pause', () => { host.pause() })
    world.outside.later(50, 'the end of it', () => { host.resume() })
    await world.run(100)
    t.strictSame(seen, [1, 50, 60])
  })

  await t.test('has a time of day of its own', async t => {
    const world = begun()
    const host = world.host('a', '1')
    host.clockOffsetMs = 3_600_000
    const times: number[] = []
    for (const each of [host, world.outside]) each.later(1, 'looks', () => { times.push(world.wallMs) })
    await world.run(2)
    t.equal(Math.abs(times[0]! - times[1]!), 3_600_000)
  })
})

t.test('A trace', async t => {
  const hashes = [['a', 'b'], ['a', 'b'], ['ab', ''], ['b', 'a']].map(lines => {
    const trace = new Trace()
    for (const line of lines) trace.add(line)
    return trace.hash()
  })
  t.equal(hashes[0], hashes[1], 'has the same hash for the same lines')
  t.equal(new Set(hashes).size, 3, 'and another one for others')
  const trace = new Trace()
  for (let i = 0; i < 450; i++) trace.add(String(i))
  t.strictSame(trace.last().slice(-3), ['447', '448', '449'], 'knows the latest lines')
})

t.test('Random numbers', async t => {
  const drawn = (random: Random) => Array.from({ length: 20 }, () => random.below(1_000_000))
  t.strictSame(drawn(new Random(7)), drawn(new Random(7)), 'are the same for the same seed')
  t.notSame(drawn(new Random(7)), drawn(new Random(8)))
  t.notSame(drawn(new Random(7)), drawn(new Random(7 + 2 ** 32)), 'of which all 53 bits count')
  t.notSame(drawn(new Random(7, 'a')), drawn(new Random(7, 'b')), 'and others for another name')
  const random = new Random(3)
  const sum = Array.from({ length: 10_000 }, () => random.next()).reduce((a, b) => a + b)
  t.ok(sum > 4_800 && sum < 5_200, 'lie evenly')
})
