import t from 'tap'
import { Heartbeat } from '../../client/heartbeat.js'
import { HeartbeatInterval } from '../../client/heartbeat-interval.js'
import { VirtualClock } from './virtual-clock.js'

/** One that notes when it pings, in seconds since it began. */
function givenHeartbeat (intervalMs = 60_000) {
  const clock = new VirtualClock()
  const beganMs = clock.nowMs()
  const pings: number[] = []
  const deaths: Array<[atS: number, silentMs: number]> = []
  const answers: number[] = []
  let late = 0
  const seconds = () => (clock.nowMs() - beganMs) / 1000
  const heartbeat: Heartbeat = new Heartbeat({
    clock,
    intervalMs: () => intervalMs,
    ping: () => {
      pings.push(seconds())
      heartbeat.sent()
    },
    answered: silentMs => answers.push(silentMs),
    dead: (_reason, silentMs) => deaths.push([seconds(), silentMs]),
    late: () => { late++ },
  })
  heartbeat.start()
  return { clock, heartbeat, pings, deaths, answers, late: () => late }
}

t.test('Heartbeat', async t => {
  t.test('pings when nothing was sent for the interval, whatever came', async t => {
    const { clock, heartbeat, pings } = givenHeartbeat()
    clock.pass(50_000)
    heartbeat.heard()
    clock.pass(10_000)
    t.strictSame(pings, [60])
    heartbeat.heard()
    clock.pass(30_000)
    heartbeat.sent()
    heartbeat.heard()
    clock.pass(59_000)
    t.strictSame(pings, [60])
    clock.pass(1_000)
    t.strictSame(pings, [60, 150])
  })

  t.test('finds a connection dead on which it sends all the time and nothing comes', async t => {
    const { clock, heartbeat, pings, deaths } = givenHeartbeat()
    for (let s = 0; s < 75 && deaths.length === 0; s += 5) {
      clock.pass(5_000)
      heartbeat.sent()
    }
    t.strictSame([pings, deaths], [[60], [[70, 5_000]]])
  })

  t.test('takes any frame for an answer', async t => {
    const { clock, heartbeat, deaths, answers } = givenHeartbeat()
    clock.pass(65_000)
    heartbeat.heard()
    clock.pass(50_000)
    t.strictSame([deaths, answers], [[], [60_000]])
  })

  t.test('is dead 10 s after a ping that nobody answered, and says how long it had been silent', async t => {
    const { clock, heartbeat, deaths } = givenHeartbeat()
    clock.pass(20_000)
    heartbeat.heard()
    clock.pass(60_000)
    t.strictSame(deaths, [[70, 40_000]])
  })

  t.test('pings at once after a sleep, and waits for the answer from then on', async t => {
    const { clock, pings, deaths } = givenHeartbeat()
    clock.pass(62_000)
    clock.oversleep(3_600_000)
    t.strictSame([pings, deaths], [[60, 3_662], []])
    clock.pass(9_000)
    t.strictSame(deaths, [])
    clock.pass(1_000)
    t.strictSame(deaths, [[3_672, 0]])
  })

  t.test('notices a sleep through which its clock stood still by the time of day', async t => {
    const { clock, heartbeat, pings } = givenHeartbeat()
    clock.pass(5_000)
    clock.setWall(3_600_000)
    clock.pass(10_000)
    t.strictSame(pings, [15])
    heartbeat.heard()
    clock.pass(30_000)
    t.strictSame(pings, [15], 'once')
  })

  t.test('loses no connection to a time of day that is set', async t => {
    const { clock, heartbeat, pings, deaths } = givenHeartbeat()
    for (const ms of [86_400_000, -86_400_000]) {
      clock.setWall(ms)
      clock.pass(16_000)
      heartbeat.heard()
    }
    clock.pass(40_000)
    t.strictSame([pings, deaths], [[15], []])
  })

  t.test('finds out within the time given whether a probed connection is alive', async t => {
    const { clock, heartbeat, pings, deaths } = givenHeartbeat()
    heartbeat.probe(3_000)
    clock.pass(2_000)
    heartbeat.heard()
    clock.pass(10_000)
    heartbeat.probe(3_000)
    clock.pass(3_000)
    t.strictSame([pings, deaths], [[0, 12], [[15, 0]]])
  })

  t.test('says when its timers run late', async t => {
    const { clock, heartbeat, late } = givenHeartbeat(20_000)
    clock.pass(10_000)
    t.equal(late(), 0)
    heartbeat.sent()
    clock.oversleep(8_000)
    t.equal(late(), 1)
  })

  t.test('is over when it is stopped', async t => {
    const { clock, heartbeat, pings } = givenHeartbeat()
    heartbeat.stop()
    clock.pass(100_000)
    t.strictSame(pings, [])
  })
})

t.test('HeartbeatInterval', async t => {
  function given ({ isAdaptive = true, dictatedMs = 60_000, network = 'wifi', knownMs = 0 } = {}) {
    const found: Array<[string, number]> = []
    const interval = new HeartbeatInterval(isAdaptive, (network, ms) => found.push([network, ms]))
    interval.dictate(dictatedMs, network, knownMs)
    const beat = (count: number) => { for (let i = 0; i < count; i++) interval.answered(interval.ms) }
    return { interval, found, beat }
  }

  t.test('is what the server says where nobody asked for more', async t => {
    const { interval, beat } = given({ isAdaptive: false, knownMs: 100_000 })
    beat(10)
    interval.died(60_000)
    t.equal(interval.ms, 60_000)
  })

  t.test('grows a step with every third answer, tells of it, and never grows beyond 25 minutes', async t => {
    const { interval, beat, found } = given()
    beat(2)
    t.strictSame([interval.ms, interval.toTellMs], [60_000, 0])
    beat(1)
    t.strictSame([interval.ms, interval.toTellMs], [72_000, 72_000])
    for (let before = interval.ms; before < 1_500_000; before = interval.ms) {
      beat(3)
      t.ok(interval.ms < 2.4 * before, 'and the server, which knows the last one, bears it')
    }
    beat(9)
    t.equal(interval.ms, 1_500_000)
    t.strictSame(found.at(-1), ['wifi', 1_500_000])
  })

  t.test('does not learn from an answer after less than its silence', async t => {
    const { interval } = given()
    for (let i = 0; i < 9; i++) interval.answered(30_000)
    interval.died(0)
    interval.died(30_000)
    t.equal(interval.ms, 60_000)
  })

  t.test('falls back below a silent death, also below the heartbeat, and stays there for long', async t => {
    const { interval, beat } = given()
    beat(3)
    interval.died(72_000)
    t.equal(interval.ms, 54_000)
    beat(49)
    t.equal(interval.ms, 54_000)
    beat(4)
    t.equal(interval.ms, 64_800)
  })

  t.test('falls back below a silence in which the connection was cut, however long it had grown', async t => {
    const { interval } = given({ dictatedMs: 45_000, knownMs: 600_000 })
    interval.died(60_000)
    t.equal(interval.ms, 45_000)
    interval.died(20_000)
    t.equal(interval.ms, 45_000, 'an end soon after a frame says nothing')
    const slept = given({ dictatedMs: 45_000, knownMs: 600_000 })
    slept.interval.died(3_600_000)
    t.equal(slept.interval.ms, 600_000, 'nor does one while the machine slept')
  })

  t.test('is never shorter than 10 s for that', async t => {
    const { interval } = given()
    for (let i = 0; i < 20; i++) interval.died(interval.ms)
    t.equal(interval.ms, 10_000)
    const quick = given({ dictatedMs: 1_000 })
    quick.interval.died(1_000)
    t.equal(quick.interval.ms, 1_000, 'nor than the heartbeat where that is shorter')
  })

  t.test('begins with what is known of a network, within the bound', async t => {
    t.equal(given({ knownMs: 100_000 }).interval.ms, 100_000)
    t.equal(given({ knownMs: 10_000_000 }).interval.ms, 1_500_000)
  })

  t.test('goes on over connections, and begins anew on another network', async t => {
    const { interval, beat } = given()
    beat(3)
    interval.dictate(60_000, 'wifi', 0)
    t.equal(interval.ms, 72_000)
    interval.dictate(60_000, 'cell', 0)
    t.equal(interval.ms, 60_000)
  })

  t.test('is no longer than the heartbeat where timers run late', async t => {
    const { interval, beat } = given()
    beat(9)
    interval.late()
    t.equal(interval.ms, 60_000)
    beat(9)
    t.equal(interval.ms, 60_000)
  })
})
