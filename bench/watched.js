/*
  What it costs the core to be watched: uplinks with the console open in a browser, and with traces sent to a collector,
  each beside the same gateway that nobody watches, in turns.

    npm run bench:watched -- [--rounds 5] [--seconds 5] [--connections 200] [--outstanding 16] [--only console,traces]

  The gateway has core 0. The load, the browser (headless Chromium, on the page Overview, which asks every 2 s) and the
  collector (which answers at once and keeps nothing) share core 1, so what counts is the time that the gateway takes of
  its core for an uplink, and not how many there are. A ratio is that of the two medians.
*/
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { withConnections } from './measure/session.js'
import { startLedgerline } from './peers/ledgerline.js'
import { startBeside } from './watched/beside.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '200' },
    outstanding: { type: 'string', default: '16' },
    only: { type: 'string', default: 'console,traces' },
  },
})
const [rounds, seconds, connections, outstanding] =
  [values.rounds, values.seconds, values.connections, values.outstanding].map(Number)
const program = fileURLToPath(new URL('../dist/cli/ledgerline.js', import.meta.url))
const warmMs = 1_500

const measurements = { console: ofConsole, traces: ofTraces }
for (const name of values.only.split(',')) {
  const measure = measurements[name]
  if (!measure) throw new Error(`--only: got ${name}, want console or traces`)
  report(await measure())
}
process.exit()

/** One gateway and one load for all rounds: the console opens and closes beside them. */
async function ofConsole () {
  const found = { 'the console is closed': [], 'the console is open': [] }
  await withGateway({}, async (load, server) => {
    for (let round = 0; round < rounds; round++) {
      await inTurns(round, {
        async 'the console is closed' () { return await window(load, server) },
        async 'the console is open' () {
          const { controlPort, apiKey } = server.target
          const page = await startBeside('console-page.js', [`http://127.0.0.1:${controlPort}`, apiKey])
          try {
            return await window(load, server)
          } finally {
            await page.stop()
          }
        },
      }, found)
    }
  })
  return found
}

/** What is traced is a setting of the gateway, so each window has one of its own. */
async function ofTraces () {
  const collector = await startBeside('collector.js')
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.told.url }
  const found = {
    'no collector': [], 'a collector, nothing traced': [], 'one uplink in 1,000 traced': [], 'one uplink in 10 traced': [],
  }
  const alone = env => withGateway(env, window)
  for (let round = 0; round < rounds; round++) {
    await inTurns(round, {
      'no collector': () => alone({}),
      'a collector, nothing traced': () => alone(env),
      'one uplink in 1,000 traced': () => alone({ ...env, LEDGERLINE_TRACE_RATIO: '0.001' }),
      'one uplink in 10 traced': () => alone({ ...env, LEDGERLINE_TRACE_RATIO: '0.1' }),
    }, found)
  }
  await collector.stop()
  return found
}

/** @param {Record<string, () => Promise<object>>} kinds measured one after the other, each round from another one on */
async function inTurns (round, kinds, found) {
  const names = Object.keys(kinds)
  for (let i = 0; i < names.length; i++) {
    const name = names[(round + i) % names.length]
    found[name].push(await kinds[name]())
  }
}

async function withGateway (env, use) {
  const dataDir = mkdtempSync(join(tmpdir(), 'ledgerline-bench-watched-'))
  const ctx = {
    peer: { protocol: 'ledgerline-tcp', start: startLedgerline('tcp') },
    options: { program, serverFlags: [], env },
    dataDir,
  }
  try {
    return await withConnections(ctx, { connections }, use)
  } finally {
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function window (load, server) {
  const { perSecond, usage } = await load.ask('uplinks', {
    outstanding, serverPid: server.pid, warmMs, windowMs: seconds * 1_000,
  })
  return { perSecond, cpuUs: usage.serverCpu / perSecond * 1e6, othersCpu: usage.othersCpu }
}

function report (found) {
  const [base] = Object.values(found)
  for (const [name, windows] of Object.entries(found)) {
    const cpuUs = median(windows.map(({ cpuUs }) => cpuUs))
    const ratio = cpuUs / median(base.map(({ cpuUs }) => cpuUs))
    const all = windows.map(({ cpuUs }) => cpuUs).sort((a, b) => a - b)
    console.log(`${name}: ${cpuUs.toFixed(2)} us of the gateway's core an uplink (${all[0].toFixed(2)} to ` +
      `${all.at(-1).toFixed(2)}), ${ratio.toFixed(2)} x; ` +
      `${Math.round(median(windows.map(({ perSecond }) => perSecond))).toLocaleString('en-US')} uplinks a second`)
  }
}

function median (figures) { return figures.toSorted((a, b) => a - b)[figures.length >> 1] }
