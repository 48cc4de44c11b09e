/*
  A process with many clients of one peer on its own core, behind lines that are cut. Its parent sends one message,
  `{ scenario, ...options }`, and is answered with `{ result }` or `{ error }`; of the scenario jitter with
  `{ halfway: true }` before that.
*/
import { Audience, wait } from './audience.js'
import { pusherFor } from './pusher.js'
import { startUsage } from '../load/usage.js'

const scenarios = { jitter, office }

/** How long the last of what was sent may take: a client that has failed a few times waits for up to a minute. */
const settleMsMax = 90_000

/**
 * Each client's line is cut at random, `cutEveryMs` apart in the mean, for `awayMs`, while everybody is sent a message
 * every `pushEveryMs`.
 */
async function jitter (options) {
  const { durationMs, cutEveryMs, awayMs, pushEveryMs, clients, serverPid } = options
  const messagesMax = Math.ceil(durationMs / pushEveryMs)
  const audience = await Audience.open({ ...options, lines: clients, messagesMax })
  const push = pusherFor(options)
  const endUsage = startUsage(serverPid)
  const timers = new Set()
  let cuts = 0
  const cutLater = index => {
    const timer = setTimeout(() => {
      timers.delete(timer)
      cuts++
      audience.cut(index, awayMs)
      cutLater(index)
    }, awayMs - Math.log(1 - Math.random()) * (cutEveryMs - awayMs))
    timers.add(timer)
  }
  for (let i = 0; i < clients; i++) cutLater(i)
  const half = messagesMax >> 1
  await pushAll(audience, push, half, pushEveryMs)
  process.send({ halfway: true })
  await pushAll(audience, push, messagesMax - half, pushEveryMs)
  for (const timer of timers) clearTimeout(timer)
  await audience.untilDelivered(settleMsMax)
  const usage = endUsage()
  const figures = audience.totals()
  await audience.close()
  return { ...figures, cuts, replaysMs: audience.replaysMs, usage }
}

/** Everybody behind one address is cut at once, between the first and the second half of what is sent. */
async function office (options) {
  const { messages, pushEveryMs, serverPid } = options
  const audience = await Audience.open({ ...options, lines: 1, messagesMax: messages })
  const push = pusherFor(options)
  const endUsage = startUsage(serverPid)
  const half = Math.ceil(messages / 2)
  await pushAll(audience, push, half, pushEveryMs)
  audience.cutAll(0)
  const cutAtMs = performance.now()
  const pushed = pushAll(audience, push, messages - half, pushEveryMs)
  await wait(50)
  await audience.untilConnected()
  const backMs = performance.now() - cutAtMs
  await pushed
  await audience.untilDelivered(settleMsMax)
  const usage = endUsage()
  const figures = audience.totals()
  await audience.close()
  return { ...figures, backMs, usage }
}

/** One after the other, so that their order is that of their numbers. */
async function pushAll (audience, push, count, everyMs) {
  const startMs = performance.now()
  for (let i = 0; i < count; i++) {
    await push(audience.sent)
    audience.sent++
    await wait(Math.max(0, startMs + (i + 1) * everyMs - performance.now()))
  }
}

process.on('message', async ({ scenario, ...options }) => {
  try {
    process.send({ result: await scenarios[scenario](options) })
  } catch (err) {
    process.send({ error: err.message })
  }
})
process.on('disconnect', () => process.exit(0))
