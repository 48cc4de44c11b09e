import { fileURLToPath } from 'node:url'
import { once } from 'node:events'
import { loadCore, spawnPinned, stopChild } from '../peers/process.js'

const clientsProgram = fileURLToPath(new URL('../network/main.js', import.meta.url))

/** 1,000 clients; each is cut every 15 s in the mean and away for 2 s; five messages a second to all of them. */
export const jitter = ctx => behindLines(ctx, {}, {
  scenario: 'jitter',
  clients: ctx.options.quick ? 100 : 1_000,
  durationMs: ctx.options.quick ? 5_000 : 60_000,
  cutEveryMs: 15_000,
  awayMs: 2_000,
  pushEveryMs: 200,
})

/** The same with posts: 10 rooms of 100 clients each, five posts a second in each room. */
export const roomJitter = ctx => behindLines(ctx, {}, {
  scenario: 'jitter',
  clients: ctx.options.quick ? 100 : 1_000,
  rooms: 10,
  durationMs: ctx.options.quick ? 5_000 : 60_000,
  cutEveryMs: 15_000,
  awayMs: 2_000,
  pushEveryMs: 200,
})

/** 500 clients behind one address, 50 more a second at first, with the limits that a gateway has by default. */
export const office = ctx => behindLines(ctx, { limits: 'default' }, {
  scenario: 'office',
  clients: ctx.options.quick ? 100 : 500,
  everyMs: 20,
  messages: 20,
  pushEveryMs: 200,
})

async function behindLines ({ peer, options, dataDir }, serverOptions, scenario) {
  const server = await peer.start({ ...options, ...serverOptions, dataDir })
  try {
    const child = spawnPinned(loadCore, [process.execPath, clientsProgram], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    try {
      const gone = once(child, 'exit').then(() => [{ error: 'the process of the clients ended' }])
      const { target, pid: serverPid } = server
      child.send({ ...scenario, kind: peer.protocol, target, program: options.program, serverPid })
      const [message] = await Promise.race([once(child, 'message'), gone])
      if (message.error) throw new Error(message.error)
      return message.result
    } finally {
      await stopChild(child)
    }
  } finally {
    await server.stop()
  }
}
