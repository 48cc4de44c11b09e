import { startClients, merged } from '../network/processes.js'

const restartMsMax = 60_000

/** 1,000 clients; each is cut every 15 s in the mean and away for 2 s; five messages a second to all of them. */
export const jitter = ctx => behindLines(ctx, {}, {
  scenario: 'jitter',
  clients: ctx.options.quick ? 100 : 1_000,
  durationMs: ctx.options.quick ? 5_000 : 60_000,
  cutEveryMs: 15_000,
  awayMs: 2_000,
  pushEveryMs: 200,
})

/** 50 rooms of 100 clients each, a post a second in each of them. */
export const roomJitter = ctx => behindLines(ctx, {}, inRooms(ctx))

/** The same; halfway the gateway is killed, and started again. */
export const roomRestart = ctx => behindLines(ctx, {}, inRooms(ctx), { restarts: true })

/** 500 clients behind one address, 50 more a second at first, with the limits that a gateway has by default. */
export const office = ctx => behindLines(ctx, { limits: 'default' }, {
  scenario: 'office',
  clients: ctx.options.quick ? 100 : 500,
  everyMs: 20,
  messages: 20,
  pushEveryMs: 200,
})

/** A client and its line take four descriptors, and 20,000 is what many a machine lets a process have. */
function inRooms ({ options: { quick } }) {
  return {
    scenario: 'jitter',
    processes: quick ? 1 : 2,
    clients: quick ? 100 : 2_500,
    rooms: quick ? 10 : 25,
    durationMs: quick ? 5_000 : 60_000,
    cutEveryMs: 15_000,
    awayMs: 2_000,
    pushEveryMs: 1_000,
  }
}

/** Of `processes`, each has clients and rooms of its own. */
async function behindLines (
  { peer, options, dataDir }, serverOptions, { processes = 1, ...scenario }, { restarts = false } = {}
) {
  const start = more => peer.start({ ...options, ...serverOptions, dataDir, ...more })
  let server = await start({})
  const { target, pid } = server
  const parts = []
  try {
    for (let part = 0; part < processes; part++) {
      parts.push(startClients({
        ...scenario,
        part,
        kind: peer.protocol,
        target,
        program: options.program,
        // One that is killed has no processor time to tell afterwards.
        serverPid: restarts ? undefined : pid,
      }))
    }
    const all = Promise.all(parts.map(({ result }) => result))
    if (restarts) {
      await Promise.race([all, Promise.all(parts.map(({ halfway }) => halfway))])
      process.kill(pid, 'SIGKILL')
      await server.stop()
      // Thousands of clients come back to a port that has just begun to listen.
      server = await start({ listeners: target.listeners, readyMsMax: restartMsMax })
    }
    return merged(await all)
  } finally {
    for (const { stop } of parts) await stop()
    await server.stop()
  }
}
