import { recordingCommits } from './commits.js'
import { untilQuiet, withGateway, withLoads, writtenBy } from './gateway.js'
import { median } from '../report/summary.js'

const times = 3
const quiet = { LEDGERLINE_LEASE_MS: '600000', LEDGERLINE_HEARTBEAT_MS: '3600000' }

/** What one small thing makes an idle gateway write, with everything that follows from it. */
export async function pushBytes (ctx) {
  return recordingCommits(({ env, serverFlags, since }) =>
    withGateway(ctx, { env: { ...quiet, ...env }, serverFlags }, gateway =>
      withLoads(gateway, ['devices'], async ({ devices }) => {
        await devices.ask('gather', { group: 'there', count: 1, payloadBytes: [20] })
        await devices.ask('gather', { group: 'left', count: 1, payloadBytes: [20] })
        await devices.ask('leave', { group: 'left' })
        const push = userId => gateway.push({ to: { userIds: [userId] }, payload: 'a small message' })
        const acts = {
          connected: () => push('there-0'),
          absent: () => push('left-0'),
          uplink: () => devices.ask('pace', { group: 'there', perSecond: 1, windowMs: 1_000 }),
          connect: i => devices.ask('gather', { group: `new${i}`, count: 1, payloadBytes: [20] }),
        }
        await untilQuiet(gateway.pid)
        const taken = Object.fromEntries(Object.keys(acts).map(name => [name, []]))
        for (let i = 0; i < (ctx.options.quick ? 1 : times); i++) {
          for (const [name, act] of Object.entries(acts)) {
            const atMs = Date.now()
            const { bytes, handedBytes, steps } = await writtenBy(gateway.pid, () => act(i))
            const commits = (await since(atMs)).map(commit => ({ ...commit, atMs: commit.atMs - atMs }))
            taken[name].push({ bytes, handedBytes, steps, commits })
          }
        }
        const rows = Object.entries(taken).map(([name, all]) => [name, {
          bytes: median(all.map(({ bytes }) => bytes)),
          handedBytes: median(all.map(({ handedBytes }) => handedBytes)),
          commits: median(all.map(({ commits }) => commits.length)),
          all,
        }])
        return { rows: Object.fromEntries(rows) }
      })))
}
