import t from 'tap'
import type { FaultName } from '../../simulation/faults.js'
import { type CountedShape, shrink } from '../../simulation/shrink.js'
import type { Outcome } from '../../simulation/simulate.js'

const large: CountedShape = {
  stores: 'cluster',
  minutes: 4,
  nodes: 5,
  devices: 50,
  faultEveryMs: 3_000,
  faults: ['crash', 'pause', 'cut', 'redis', 'tables', 'links'],
}

function outcome (isBroken: boolean): Outcome {
  return {
    seed: 1,
    violations: isBroken ? ['broken'] : [],
    last: [],
    hash: '',
    events: 0,
    virtualMs: 0,
    faults: {},
    told: {},
    sent: 0,
    pushed: 0,
    posted: 0,
    books: undefined,
    logged: {},
  }
}

/** Shrinks the large world, in which a promise is broken where `isBroken` says so. */
async function shrunk (isBroken: (shape: CountedShape) => boolean): Promise<{ smallest: CountedShape, runs: number }> {
  let runs = 0
  const { shape } = await shrink({ shape: large, outcome: outcome(true) }, async shape => {
    runs++
    return outcome(isBroken(shape))
  })
  return { smallest: shape, runs }
}

t.test('A world in which a promise is broken', async t => {
  await t.test('is made as small as can be where nothing of it is to blame', async t => {
    const { smallest, runs } = await shrunk(() => true)
    t.strictSame(smallest, { stores: 'cluster', minutes: 0.5, nodes: 1, devices: 1, faultEveryMs: 48_000, faults: [] })
    t.ok(runs < 40, `${runs} runs`)
  })

  await t.test('keeps what is to blame, whatever stands beside it', async t => {
    const wanted: FaultName[] = ['pause', 'tables']
    const { smallest } = await shrunk(({ minutes, nodes, devices, faults }) =>
      minutes >= 2 && nodes >= 3 && devices >= 7 && wanted.every(name => faults.includes(name)))
    t.strictSame(smallest, { stores: 'cluster', minutes: 2, nodes: 3, devices: 7, faultEveryMs: 48_000, faults: wanted })
  })

  await t.test('stays as it is where nothing smaller breaks one', async t => {
    const { smallest } = await shrunk(() => false)
    t.strictSame(smallest, large)
  })
})
