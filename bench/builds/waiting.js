import { setTimeout as wait } from 'node:timers/promises'
import { knownSettings, startUsageOf, untilQuiet, watchMemory, withGateway, withLoads, writtenBy } from './gateway.js'

const neighbours = 20
const neighboursPerSecond = 1_000
/** Pushes that wait are made so many at a time. */
const pushesAtOnce = 4
const quiet = { LEDGERLINE_LEASE_MS: '600000', LEDGERLINE_HEARTBEAT_MS: '3600000' }
/** Twice what waits. */
const outboxBytesMax = 1 << 27

/**
 * What small pushes cost a user for whom much waits, against one for whom nothing does: bytes written, and the acks of
 * others meanwhile.
 *
 * @param {{ devices: number, waiting: number, payloadBytes: number, pushes: number }} wanted `devices` have been there
 *   and left; 0 for a user who never came. `waiting` is below 1,000 by more than all pushes: past that number each push
 *   puts the oldest downlink out, of which the stream `receipts` has a commit of its own
 */
export function waiting ({ payloadBytes, ...wanted }) {
  return async ctx => {
    const small = { devices: Math.min(wanted.devices, 4), waiting: wanted.waiting / 50, pushes: 2 }
    const size = ctx.options.quick ? small : wanted
    const raised = knownSettings(ctx.program, { LEDGERLINE_OUTBOX_BYTES_MAX: String(outboxBytesMax) })
    return withGateway(ctx, { env: { ...quiet, ...raised } }, gateway =>
      withLoads(gateway, ['neighbours', 'devices'], async loads => {
        const endMemory = watchMemory(gateway.pid)
        const users = await absentUsers(loads.devices, size.devices)
        await fill(gateway, users.full, size.waiting, payloadBytes)
        await untilQuiet(gateway.pid)
        await nothingLost(gateway)
        const empty = await writtenBy(gateway.pid, () => push(gateway, users.empty, size.pushes, ctx.options.windowMs))
        const full = await writtenBy(gateway.pid, () => push(gateway, users.full, size.pushes, ctx.options.windowMs))
        await loads.neighbours.ask('gather', { group: 'neighbours', count: neighbours, payloadBytes: [120] })
        const pace = () => loads.neighbours.ask('pace', {
          group: 'neighbours', perSecond: neighboursPerSecond, windowMs: ctx.options.windowMs,
        })
        await pace()
        const calm = await pace()
        const endUsage = startUsageOf(gateway, loads)
        const [meanwhile] = await Promise.all([pace(), push(gateway, users.full, size.pushes, ctx.options.windowMs)])
        const usage = endUsage(meanwhile.lateMs)
        const { rssBytesMax } = endMemory()
        return {
          rows: {
            all: {
              fullBytes: full.bytes,
              emptyBytes: empty.bytes,
              bytesRatio: full.bytes / empty.bytes,
              handedRatio: full.handedBytes / empty.handedBytes,
              calmP99Ms: calm.p99Ms,
              p99Ms: meanwhile.p99Ms,
              maxMs: meanwhile.maxMs,
              p99Ratio: meanwhile.p99Ms / calm.p99Ms,
              rssBytesMax,
              usage,
              lateMs: meanwhile.lateMs,
              steps: full.steps,
            },
          },
        }
      }))
  }
}

/** @returns {Promise<{ full: string, empty: string }>} two users, with as many devices that left */
async function absentUsers (load, devices) {
  if (devices === 0) return { full: 'never-0', empty: 'never-1' }
  await load.ask('gather', { group: 'left', count: 2 * devices, devicesOfUser: devices, payloadBytes: [1] })
  await load.ask('leave', { group: 'left' })
  await wait(1_000)
  return { full: 'left-0', empty: 'left-1' }
}

async function fill (gateway, userId, count, payloadBytes) {
  const payload = 'x'.repeat(payloadBytes)
  let left = count
  const pushing = async () => {
    while (left-- > 0) await gateway.push({ to: { userIds: [userId] }, payload })
  }
  await Promise.all(Array.from({ length: pushesAtOnce }, pushing))
}

/** Evenly over the time. */
async function push (gateway, userId, count, windowMs) {
  for (let i = 0; i < count; i++) {
    await gateway.push({ to: { userIds: [userId] }, payload: 'x' })
    await wait(windowMs / count)
  }
}

/** A bound that was not raised would drop what shall wait. */
async function nothingLost (gateway) {
  const settled = (await gateway.metrics()).match(/^ledgerline_downlinks_settled_total\{.*/mg) ?? []
  if (settled.length > 0) throw new Error(`not all that shall wait does: ${settled.join('; ')}`)
}
