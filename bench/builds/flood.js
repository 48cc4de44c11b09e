import { setTimeout as wait } from 'node:timers/promises'
import { quantile } from '../load/quantile.js'
import { memoryOf } from '../measure/memory.js'
import { loadCore } from '../peers/process.js'
import { withDiskProbe } from './disk.js'
import { diskBytes, startUsageOf, watchMemory, withGateway, withLoads } from './gateway.js'

const neighbours = 50
const neighboursPerSecond = 200
const calmMs = 10_000
const afterMs = 10_000
/** What the disk is asked beside them: little enough to change nothing, often enough to be there when it is slow. */
const diskWrites = { bytes: 8 << 10, perSecond: 20 }

/**
 * Clients that send as much as they may, or can, and well-behaved neighbours meanwhile.
 *
 * @param {object} crowd
 * @param {number} crowd.count
 * @param {number[]} crowd.payloadBytes clients take them in turn
 * @param {'default' | 'off'} [crowd.limits]
 * @param {boolean} [crowd.reads]
 * @param {number} [crowd.perSecond] uplinks of each client; as many as it can where there is none
 */
export function flood ({ count, payloadBytes, limits = 'default', reads = true, perSecond }) {
  return ctx => beside(ctx, { limits }, ctx.options.floodMs, async (gateway, load) => {
    const clients = ctx.options.quick ? Math.min(count, 20) : count
    await load.ask('gather', { group: 'flood', count: clients, payloadBytes, reads })
    return {
      begin: () => load.ask('flood', { group: 'flood', perSecond }),
      async end () {
        await load.ask('calm', { group: 'flood' })
        const report = await load.ask('report', { group: 'flood' })
        await load.ask('leave', { group: 'flood' })
        return { report, takenBytes: report.bytesSent }
      },
    }
  })
}

/**
 * Pushes of `payloadBytes` to many users, and well-behaved neighbours meanwhile.
 *
 * @param {object} what
 * @param {number} [what.deaf] users whose device never reads
 * @param {number} [what.there] users whose device reads and acks
 * @param {number} [what.absent] users who never came
 * @param {number} what.pushes
 * @param {number} what.payloadBytes
 * @param {number} what.everyMs
 */
export function pushes ({ deaf = 0, there = 0, absent = 0, pushes, payloadBytes, everyMs }) {
  return ctx => {
    const scale = ctx.options.quick ? 10 : 1
    const windowMs = pushes * everyMs / scale + ctx.options.windowMs
    return beside(ctx, { env: { LEDGERLINE_HEARTBEAT_MS: '3600000' } }, windowMs, async (gateway, load) => {
      const groups = Object.entries({ deaf, there }).filter(([, count]) => count > 0)
      for (const [group, count] of groups) {
        await load.ask('gather', { group, count: count / scale, payloadBytes: [1], reads: group !== 'deaf' })
      }
      const userIds = Object.entries({ deaf, there, absent })
        .flatMap(([group, count]) => Array.from({ length: count / scale }, (_, i) => `${group}-${i}`))
      const payload = 'x'.repeat(payloadBytes)
      let pushing
      const pushAll = async () => {
        const startMs = performance.now()
        for (let i = 0; i < pushes / scale; i++) {
          await wait(Math.max(0, startMs + i * everyMs - performance.now()))
          await gateway.push({ to: { userIds }, payload })
        }
      }
      return {
        begin () {
          pushing = pushAll()
          pushing.catch(() => {}) // told by the end
        },
        async end () {
          await pushing
          const reports = {}
          for (const [group] of groups) {
            reports[group] = await load.ask('report', { group })
            await load.ask('leave', { group })
          }
          return { report: reports, takenBytes: userIds.length * payloadBytes * Math.ceil(pushes / scale) }
        },
      }
    })
  }
}

/** What `prepare` begins goes on for `windowMs`, in which the neighbours are looked at. */
async function beside (ctx, wants, windowMs, prepare) {
  return withGateway(ctx, wants, gateway => withLoads(gateway, ['neighbours', 'flood'], loads =>
    withDiskProbe(gateway.dataDir, loadCore, askDisk => measure(ctx, { gateway, loads, askDisk }, windowMs, prepare))))
}

async function measure (ctx, { gateway, loads, askDisk }, windowMs, prepare) {
  const { pid, dataDir } = gateway
  await loads.neighbours.ask('gather', { group: 'neighbours', count: neighbours, payloadBytes: [120] })
  const pace = async windowMs => {
    const [uplinks, disk] = await Promise.all([
      loads.neighbours.ask('pace', { group: 'neighbours', perSecond: neighboursPerSecond, windowMs }),
      askDisk({ ...diskWrites, windowMs }),
    ])
    return { ...uplinks, diskP99Ms: quantile(Float64Array.from(disk).sort(), 0.99) }
  }
  await pace(ctx.options.warmMs)
  const calm = await pace(ctx.options.quick ? 1_000 : calmMs)
  const { begin, end } = await prepare(gateway, loads.flood)
  const restBytes = memoryOf(pid).rssBytes
  const diskBefore = diskBytes(dataDir)
  const endMemory = watchMemory(pid)
  const endUsage = startUsageOf(gateway, loads)
  await begin()
  const meanwhile = await pace(windowMs)
  const usage = endUsage(meanwhile.lateMs)
  const { report, takenBytes } = await end()
  const { rssBytesMax, anonBytesMax } = endMemory()
  const neighboursReport = await loads.neighbours.ask('report', { group: 'neighbours' })
  await wait(ctx.options.quick ? 1_000 : afterMs)
  return {
    rows: {
      all: {
        rssBytesMax,
        anonBytesMax,
        restBytes,
        afterBytes: memoryOf(pid).rssBytes,
        calmP99Ms: calm.p99Ms,
        p99Ms: meanwhile.p99Ms,
        maxMs: meanwhile.maxMs,
        diskCalmP99Ms: calm.diskP99Ms,
        diskP99Ms: meanwhile.diskP99Ms,
        p99Ratio: meanwhile.p99Ms / calm.p99Ms,
        unanswered: meanwhile.unanswered,
        takenBytes,
        diskBytes: diskBytes(dataDir) - diskBefore,
        lateMs: meanwhile.lateMs,
        usage,
        flood: report,
        neighbours: neighboursReport,
      },
    },
  }
}
