import { quantile } from '../load/quantile.js'
import { startGenerator } from '../load/generator.js'
import { goingFirst, serverCore } from '../peers/process.js'
import { recordingCommits } from './commits.js'
import { withDiskProbe } from './disk.js'
import { ioOf, startUsageOf, withGateway } from './gateway.js'

const connections = 200
const perSecond = 5_000
const slices = 4
const lateMsMax = 0.5

/**
 * Uplink to ack at a fixed rate, and in turns with it, on the same core and the same disk, `fdatasync` of as many bytes
 * as often as the gateway has just committed.
 */
export async function tail (ctx) {
  return recordingCommits(({ env, serverFlags, since }) =>
    withGateway(ctx, { limits: 'off', env, serverFlags }, gateway =>
      withDiskProbe(gateway.dataDir, serverCore, askDisk => measure(ctx.options, { gateway, askDisk, since }))))
}

async function measure (options, { gateway, askDisk, since }) {
  const load = await startGenerator({ protocol: 'ledgerline-tcp', target: gateway.target }, { before: goingFirst })
  try {
    await load.ask('open', { count: connections })
    const taken = { uplinks: [], disk: [], lateMs: [], usage: [], commits: [] }
    for (let i = 0; i < slices; i++) await slice(options, { gateway, load, askDisk, since, taken })
    const lateMs = Math.max(...taken.lateMs)
    const usage = { ...taken.usage.at(-1), loadBound: lateMs > lateMsMax }
    return {
      rows: {
        uplinks: { ...quantilesOf(taken.uplinks), lateMs, usage, commits: taken.commits },
        disk: quantilesOf(taken.disk),
      },
    }
  } finally {
    await load.stop()
  }
}

async function slice ({ warmMs, windowMs }, { gateway, load, askDisk, since, taken }) {
  const atMs = Date.now()
  const { handed } = ioOf(gateway.pid)
  const startMs = performance.now()
  const endUsage = startUsageOf(gateway, { load })
  const result = await load.ask('schedule', { perSecond, warmMs, windowMs, serverPid: gateway.pid, withSamples: true })
  const seconds = (performance.now() - startMs) / 1000
  taken.usage.push(endUsage(0))
  taken.lateMs.push(result.lateMs)
  taken.uplinks.push(...result.samples)
  const commits = (await since(atMs)).length
  if (commits === 0) throw new Error('the commits of this build can not be counted')
  // With the acks, which are a few bytes of it.
  const bytes = Math.round((ioOf(gateway.pid).handed - handed) / commits)
  taken.commits.push({ perSecond: commits / seconds, bytes })
  taken.disk.push(...await askDisk({ bytes, perSecond: commits / seconds, windowMs }))
}

function quantilesOf (samples) {
  const sorted = Float64Array.from(samples).sort()
  const [p50Ms, p99Ms, p999Ms, maxMs] = [0.5, 0.99, 0.999, 1].map(share => quantile(sorted, share))
  return { p50Ms, p99Ms, p999Ms, maxMs }
}
