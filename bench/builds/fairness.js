import { spawnPinned, serverCore } from '../peers/process.js'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { startUsageOf, withGateway, withLoads } from './gateway.js'

const program = fileURLToPath(new URL('./fair-log.js', import.meta.url))
const normal = 1_000
const normalPerSecond = 1_000
const hotDevices = 32
const hotPerSecond = 100_000

/** Small appends beside busy partitions of the embedded log, in a process without a gateway. */
export async function fairLog ({ program: build, dataDir, options }) {
  const args = [program, resolve(dirname(build), '..'), dataDir, String(options.windowMs)]
  const child = spawnPinned(serverCore, [process.execPath, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [output, complaint, code] = await Promise.all([
    text(child.stdout), text(child.stderr), new Promise(resolve => child.once('exit', resolve)),
  ])
  if (code !== 0) throw new Error(`the log: ${complaint.trim()}`)
  return { rows: JSON.parse(output) }
}

/** One user whose devices send as many as they can beside many who send one a second. */
export async function fairUser (ctx) {
  const { quick, windowMs, warmMs } = ctx.options
  return withGateway(ctx, { limits: 'off' }, gateway => withLoads(gateway, ['neighbours', 'hot'], async loads => {
    await loads.neighbours.ask('gather', {
      group: 'neighbours', count: quick ? normal / 10 : normal, payloadBytes: [120], openPerSecond: 1_000,
    })
    await loads.hot.ask('gather', { group: 'hot', count: hotDevices, devicesOfUser: hotDevices, payloadBytes: [20] })
    const pace = windowMs => loads.neighbours.ask('pace', { group: 'neighbours', perSecond: normalPerSecond, windowMs })
    await pace(warmMs)
    const calm = await pace(windowMs)
    await loads.hot.ask('flood', { group: 'hot', perSecond: hotPerSecond / hotDevices })
    await pace(warmMs)
    const before = await loads.hot.ask('report', { group: 'hot' })
    const endUsage = startUsageOf(gateway, loads)
    const startMs = performance.now()
    const meanwhile = await pace(windowMs)
    const after = await loads.hot.ask('report', { group: 'hot' })
    const seconds = (performance.now() - startMs) / 1000
    const usage = endUsage(meanwhile.lateMs)
    return {
      rows: {
        all: {
          calmP99Ms: calm.p99Ms,
          p99Ms: meanwhile.p99Ms,
          maxMs: meanwhile.maxMs,
          p99Ratio: meanwhile.p99Ms / calm.p99Ms,
          hotPerSecond: (after.acked - before.acked) / seconds,
          unanswered: meanwhile.unanswered,
          lateMs: meanwhile.lateMs,
          usage,
        },
      },
    }
  }))
}
