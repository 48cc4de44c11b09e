/*
  What a gateway does that gets more than it can take: first how many uplinks a second it takes in time when they come
  one by one, then steps of 1 to 10 times that. A tenth of what saturates it has a high priority, in every step; the
  rest of each step has none. Prints one line for each step: what of each priority was acked, and how long it took.

    node overload.js [--program ../dist/cli/ledgerline.js] [--steps 0.5,1,2,5,10] [--seconds 10] [--wait-ms 20]
                     [--saturation UPLINKS_A_SECOND, by default found out]
*/
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { knownSettings, startUsageOf, withGateway, withLoads } from './builds/gateway.js'
import { memoryOf } from './measure/memory.js'

const { values } = parseArgs({
  options: {
    program: { type: 'string', default: fileURLToPath(new URL('../dist/cli/ledgerline.js', import.meta.url)) },
    steps: { type: 'string', default: '0.5,1,2,5,10' },
    seconds: { type: 'string', default: '10' },
    'wait-ms': { type: 'string', default: '20' },
    low: { type: 'string', default: '1000' },
    bytes: { type: 'string', default: '120' },
    saturation: { type: 'string' },
  },
})
const windowMs = 1_000 * Number(values.seconds)
const warmMs = 5_000
const lowDevices = Number(values.low)
const highDevices = 100
const neighbours = 50
const highPriority = 5
const highShare = 0.1
/** The search for saturation. */
const firstPerSecond = 8_000
const halvings = 3
const probeWarmMs = 1_500
const probeMs = 2_000
/** What is taken is acked, all but a few that are on their way, and in time. */
const inTimeShare = 0.97
const inTimeMsMax = 50
const payloadBytes = [Number(values.bytes)]

const seen = {}
const dataDir = mkdtempSync(join(tmpdir(), 'ledgerline-overload-'))
const env = knownSettings(values.program, { LEDGERLINE_OVERLOAD_WAIT_MS: values['wait-ms'] })
const options = { limits: 'off', env }
try {
  await withGateway({ program: values.program, dataDir }, options, gateway =>
    withLoads(gateway, ['neighbours', 'high', 'low'], loads => run(gateway, loads)))
} finally {
  rmSync(dataDir, { recursive: true })
}

async function run (gateway, loads) {
  const ask = (of, command, options) => loads[of].ask(command, options)
  await ask('neighbours', 'gather', {
    group: 'neighbours', count: neighbours, payloadBytes, priority: highPriority, openPerSecond: 500,
  })
  await ask('high', 'gather', {
    group: 'high', count: highDevices, payloadBytes, priority: highPriority, openPerSecond: 500,
  })
  await ask('low', 'gather', { group: 'low', count: lowDevices, payloadBytes, openPerSecond: 500 })
  const pace = windowMs => ask('neighbours', 'pace', { group: 'neighbours', perSecond: 200, windowMs })
  await pace(warmMs)
  const calm = await pace(windowMs)
  print({ step: 'calm', neighboursP50Ms: round(calm.p50Ms), neighboursP99Ms: round(calm.p99Ms), lateMs: round(calm.lateMs) })

  // Of one rate in ten parts, one has a high priority.
  const load = async (step, perSecond) => {
    const highPerSecond = highShare * perSecond
    await ask('high', 'flood', { group: 'high', perSecond: highPerSecond / highDevices })
    await ask('low', 'flood', { group: 'low', perSecond: (step * perSecond - highPerSecond) / lowDevices })
  }
  const rest = async () => {
    for (const group of ['high', 'low']) await ask(group, 'calm', { group })
    return untilOpen(gateway)
  }
  const isTaken = async perSecond => {
    await load(1, perSecond)
    await wait(probeWarmMs)
    const endUsage = startUsageOf(gateway, loads)
    const [{ p50Ms, lateMs }, { high, low }] = await Promise.all([pace(probeMs), rates(loads, probeMs)])
    const { serverCpu, loadCpu } = endUsage(lateMs)
    await rest()
    const acked = high.acked + low.acked
    print({ step: 'probe', wanted: round(perSecond), acked: round(acked), neighboursP50Ms: round(p50Ms), serverCpu, loadCpu })
    return acked >= inTimeShare * perSecond && p50Ms <= inTimeMsMax
  }
  const perSecond = Number(values.saturation ?? await saturation(isTaken))
  const highPerSecond = highShare * perSecond
  print({ step: 'saturated', perSecond: Math.round(perSecond) })

  for (const step of values.steps.split(',').map(Number)) {
    await load(step, perSecond)
    await wait(2 * warmMs)
    await state(gateway)
    const [meanwhile, at] = await Promise.all([pace(windowMs), rates(loads, windowMs)])
    print({
      step,
      highWanted: round(highPerSecond),
      ...flat(at),
      neighboursP50Ms: round(meanwhile.p50Ms),
      neighboursP99Ms: round(meanwhile.p99Ms),
      p99Ratio: round(meanwhile.p99Ms / calm.p99Ms),
      lateMs: round(meanwhile.lateMs),
      unanswered: meanwhile.unanswered,
      ...await state(gateway),
      rssMb: Math.round(memoryOf(gateway.pid).rssBytes / 1e6),
    })
    const openMs = await rest()
    if (openMs > 0) print({ step: `after ${step}`, openAfterMs: openMs })
  }
}

/**
 * The highest rate that is taken, found as the steps are loaded: by uplinks that come one by one, each in a read of its
 * own. As many as clients can send come in large reads, of which each uplink costs a sixth.
 *
 * @param {(perSecond: number) => Promise<boolean>} isTaken
 */
async function saturation (isTaken) {
  let taken = 0
  let refused = firstPerSecond
  while (await isTaken(refused)) {
    taken = refused
    refused *= 2
  }
  for (let i = 0; i < halvings; i++) {
    const middle = (taken + refused) / 2
    if (await isTaken(middle)) taken = middle
    else refused = middle
  }
  return taken
}

/** Acked and refused a second. */
async function rates (loads, windowMs) {
  const groups = ['high', 'low']
  const reports = () => Promise.all(groups.map(group => loads[group].ask('report', { group })))
  const startMs = performance.now()
  const before = await reports()
  await wait(windowMs)
  const after = await reports()
  const seconds = (performance.now() - startMs) / 1000
  return Object.fromEntries(groups.map((group, i) => [group, {
    acked: (after[i].acked - before[i].acked) / seconds,
    refused: (after[i].refused - before[i].refused) / seconds,
    open: after[i].open,
  }]))
}

function flat ({ high, low }) {
  return {
    highAcked: round(high.acked),
    highRefused: round(high.refused),
    lowAcked: round(low.acked),
    lowRefused: round(low.refused),
    lowOpen: low.open,
  }
}

async function state (gateway) {
  const text = await gateway.metrics()
  const gauge = name => Number(new RegExp(`^ledgerline_${name} (\\S+)`, 'm').exec(text)?.[1] ?? NaN)
  const mean = name => {
    const [sum, count] = [gauge(`${name}_sum`), gauge(`${name}_count`)]
    const before = seen[name] ?? { sum: 0, count: 0 }
    seen[name] = { sum, count }
    return round(1_000 * (sum - before.sum) / (count - before.count))
  }
  return {
    waitMs: round(1_000 * gauge('overload_wait_seconds')),
    level: round(gauge('admission_level')),
    logMs: mean('uplink_log_seconds'),
    accessMs: mean('uplink_access_seconds'),
    commitMs: mean('commit_seconds'),
    intakeMb: round(gauge('intake_bytes') / 1e6),
  }
}

async function untilOpen (gateway) {
  const startMs = performance.now()
  while ((await state(gateway)).level > 0) await wait(100)
  return Math.round(performance.now() - startMs)
}

function round (value) { return Math.round(100 * value) / 100 }

function print (row) { console.log(JSON.stringify(row)) }
