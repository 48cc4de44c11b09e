import { setTimeout as wait } from 'node:timers/promises'
import { recordingCommits } from './commits.js'
import { withGateway, withLoads } from './gateway.js'

const firstPushes = 1_000
const firstPerSecond = 100
const perSecond = 5
const payload = 'x'.repeat(100)

/**
 * Bytes of keys and values of saved states that a checkpoint writes for a user with one device, who is online and acks:
 * over the first 1,000 pushes, and at an ordinary pace after them.
 */
export async function snapshot (ctx) {
  const { quick } = ctx.options
  return recordingCommits(({ env, serverFlags, since }) =>
    withGateway(ctx, { env, serverFlags }, gateway => withLoads(gateway, ['devices'], async ({ devices }) => {
      await devices.ask('gather', { group: 'there', count: 1, payloadBytes: [1] })
      const during = await checkpoints(since, () => push(gateway, quick ? 100 : firstPushes, firstPerSecond))
      const later = 4 * ctx.options.windowMs / 1000 * perSecond
      const after = await checkpoints(since, () => push(gateway, later, perSecond))
      const { delivered } = await devices.ask('report', { group: 'there' })
      if (delivered === 0) throw new Error('nothing was delivered')
      return { rows: { during, after } }
    })))
}

async function push (gateway, count, perSecond) {
  const startMs = performance.now()
  for (let i = 0; i < count; i++) {
    await wait(Math.max(0, startMs + i * 1000 / perSecond - performance.now()))
    await gateway.push({ to: { userIds: ['there-0'] }, payload })
  }
}

async function checkpoints (since, act) {
  const atMs = Date.now()
  await act()
  const commits = await since(atMs, ({ puts }) => puts.checkpoint > 0)
  // A build may store parts of a state in commits before that of its checkpoint, which then has the checkpoint alone.
  const checkpoints = commits.filter(({ puts }) => puts.checkpoint > 0).length
  if (checkpoints === 0) throw new Error('no checkpoint was seen')
  const sizes = commits.filter(({ puts }) => puts.snapshot > 0).map(({ bytes }) => bytes.snapshot)
  return {
    bytes: sizes.reduce((sum, size) => sum + size, 0) / checkpoints,
    bytesMax: Math.max(...sizes),
    checkpoints,
  }
}
