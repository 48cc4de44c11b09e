import { setTimeout as wait } from 'node:timers/promises'
import { clientCount, protocolFor, targetOf } from './clients.js'
import { leaseMs } from './goals.js'
import { userIdOf } from '../load/protocols/ledgerline.js'
import { ResumingClients } from './resuming.js'

const pollMs = 20
const presencePollMs = 200
/** Users of one request for presence. */
const askedMax = 100
const giveUpMs = 90_000
/** Presence is looked at until the lost node's connections have been ended for it, too. */
const afterLeaseMs = 5_000
/** After the start of a node, until the groups have shared the partitions out again. */
const settleMs = 8_000

/** Kills a users node under traffic; ends when it runs again. */
export function killUsers (ctx) {
  return withTraffic(ctx, 'u1', async clients => {
    const startMs = performance.now()
    await ctx.nodes.kill('u1')
    await until(() => clients.flowsSince(startMs), startMs)
    return { rows: { acks: { ms: performance.now() - startMs } }, refusals: clients.refusals }
  })
}

/** Kills an edge under traffic, and looks at presence until its lease is long over; ends when it runs again. */
export function killEdge (ctx) {
  return withTraffic(ctx, 'e1', async (clients, target) => {
    const [port] = ctx.nodes.edgePorts
    const moving = clients.list.filter(client => client.port === port)
    const startMs = performance.now()
    await ctx.nodes.kill('e1')
    const resumed = until(() => moving.every(({ port: now, ackedSentAtMs, openedAtMs }) =>
      now !== port && openedAtMs > startMs && ackedSentAtMs > startMs), startMs)
    const [resumedMs, presenceMs] = await Promise.all([resumed, presenceRight(ctx.nodes, target.users, startMs)])
    return { rows: { resumed: { ms: resumedMs }, presence: { ms: presenceMs } }, moved: moving.length }
  })
}

async function withTraffic ({ nodes }, victim, use) {
  const target = targetOf(nodes)
  const clients = new ResumingClients(target, protocolFor(target), clientCount)
  try {
    const startMs = performance.now()
    await until(() => clients.flowsSince(startMs), startMs)
    return await use(clients, target)
  } finally {
    if (!nodes.running.has(victim)) await nodes.start(victim)
    await wait(settleMs)
    await clients.close()
  }
}

/** @returns {Promise<number>} ms from the start until presence was right for all users, and stayed so */
async function presenceRight (nodes, users, startMs) {
  const userIds = Array.from({ length: clientCount }, (_, i) => userIdOf(i, users))
  let rightMs
  while (rightMs === undefined || performance.now() - startMs < leaseMs + afterLeaseMs) {
    if (!await movedAll(nodes, userIds)) rightMs = undefined
    else rightMs ??= performance.now() - startMs
    if (performance.now() - startMs > giveUpMs) throw new Error(`presence was not right within ${giveUpMs} ms`)
    await wait(presencePollMs)
  }
  return rightMs
}

/** Whether presence has one session of each user, on the edge that is left. */
async function movedAll (nodes, userIds) {
  for (let i = 0; i < userIds.length; i += askedMax) {
    const { users } = JSON.parse(await nodes.ask('u1', '/v1/presence', { userIds: userIds.slice(i, i + askedMax) }))
    if (!users.every(({ sessions }) => sessions.length === 1 && sessions[0].nodeId === 'e2')) return false
  }
  return true
}

/** @returns {Promise<number>} ms from the start until the condition held */
async function until (condition, startMs) {
  while (!condition()) {
    if (performance.now() - startMs > giveUpMs) throw new Error(`did not come to rights within ${giveUpMs} ms`)
    await wait(pollMs)
  }
  return performance.now() - startMs
}
