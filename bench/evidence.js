/*
  What an operator's audits and replays cost those who are online: latency of uplinks in rounds without and with
  `ledgerline audit --url` or `replay --url` running again and again, against the gateway that the uplinks go to.

    npm run bench:evidence -- [--entries 2000000] [--per-second 5000] [--seconds 20] [--rounds 3]
                              [--commands audit,replay] [--dist ../dist] [--directory DIR]

  The gateway and the load have core 0, the command has core 1. The load rests between uplinks, so as not to take the
  gateway's core, and counts a latency from when the uplink left. Both go before everything else (autogroup) where this
  user may give them that, so that what else runs here costs them little. `late` says how late uplinks left all the
  same. On a slow disk the sync of a commit is most of a p99: a DIR on a tmpfs shows what the event loop has of it.
  DIR is an embedded data directory that bench/audit.js makes; it is made anew, and deleted, where it is not named.
*/
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startGenerator } from './load/generator.js'
import { startLedgerline } from './peers/ledgerline.js'
import { goingFirst as before, loadCore, pinned, serverCore, spawnPinned, stopChild } from './peers/process.js'
import { median } from './report/summary.js'

const connections = 200
const users = 20_000
const warmMs = 3_000
/** Without snapshots a gateway folds the whole ledger first, and its projections follow. */
const readyMsMax = 120_000
const caughtUpMsMax = 120_000
/** Latencies are of the gateway as long as so many of the uplinks left on time. */
const lateMsMax = 10
const ratioMax = 2

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '2000000' },
    'per-second': { type: 'string', default: '5000' },
    seconds: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '3' },
    commands: { type: 'string', default: 'audit,replay' },
    dist: { type: 'string', default: fileURLToPath(new URL('../dist', import.meta.url)) },
    directory: { type: 'string' },
  },
})
const perSecond = Number(values['per-second'])
const windowMs = 1000 * Number(values.seconds)
const program = join(resolve(values.dist), 'cli/ledgerline.js')

const scratch = mkdtempSync(join(tmpdir(), 'ledgerline-evidence-'))
try {
  const dataDir = values.directory ?? join(scratch, 'data')
  if (!existsSync(dataDir)) fill(dataDir)
  // A gateway that has just folded all of it from nothing is not what operators look into.
  await withGateway(dataDir, () => {})
  await withGateway(dataDir, measure)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

function fill (directory) {
  const script = fileURLToPath(new URL('audit.js', import.meta.url))
  const args = ['--step', 'build', '--dist', values.dist, '--directory', directory, '--entries', values.entries, '--users', `${users}`]
  const { status } = spawnSync(process.execPath, [script, ...args], { stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) throw new Error(`the ledger could not be made: ${script} ended with ${status}`)
}

/** Calls `use` once all that the directory has is folded. */
async function withGateway (dataDir, use) {
  const server = await startLedgerline('tcp')({ program, dataDir, serverFlags: [], readyMsMax, before })
  try {
    await caughtUp(server.target)
    await use(server)
  } finally {
    await server.stop()
  }
}

async function measure (server) {
  const load = await startGenerator({ protocol: 'ledgerline-tcp', target: server.target }, { before, core: serverCore })
  try {
    await load.ask('open', { count: connections })
    await load.ask('rest', { perSecond, windowMs: warmMs })
    for (const command of values.commands.split(',')) await compare(command, load, server)
  } finally {
    await load.stop()
  }
}

/** Rounds without and with the command in turn, so that what else goes on on this machine meets both alike. */
async function compare (command, load, server) {
  const without = []
  const beside = []
  for (let round = 0; round < Number(values.rounds); round++) {
    without.push(await measured('without', load, server))
    const operator = runAgainAndAgain(command, server.target)
    try {
      await wait(1_000) // it is reading by then
      beside.push(await measured(`beside ${command}`, load, server))
    } finally {
      const { runs, entries, seconds } = await operator.stop()
      const rate = runs > 0 ? Math.round(entries / seconds).toLocaleString('en-US') : 'unknown'
      console.log(`  ${command}: ${runs} whole runs, entries a second: ${rate}`)
    }
  }
  const medians = [without, beside].map(rounds => median(rounds.map(({ p99Ms }) => p99Ms)))
  const ratio = medians[1] / medians[0]
  console.log(JSON.stringify({
    command,
    perSecond,
    p99MsWithout: Number(medians[0].toFixed(2)),
    p99MsBeside: Number(medians[1].toFixed(2)),
    ratio: Number(ratio.toFixed(2)),
    lateMsMost: Number(Math.max(...without.concat(beside).map(({ lateMs }) => lateMs)).toFixed(2)),
    loadFirst: before.length > 0,
    pinned,
    loadAverage: loadavg().map(load => Number(load.toFixed(1))),
  }))
  if (ratio > ratioMax) process.exitCode = 1
}

async function measured (name, load, { pid }) {
  const begin = scheduled(pid)
  const result = await load.ask('rest', { perSecond, windowMs })
  const end = scheduled(pid)
  const share = what => `${Math.round(100 * (end[what] - begin[what]) / (end.atMs - begin.atMs))} %`
  const { p50Ms, p99Ms, lateMs, unanswered } = result
  const marks = [lateMs > lateMsMax ? 'the load was late' : '', unanswered > 0 ? `${unanswered} unanswered` : '']
  const note = marks.filter(mark => mark !== '').map(mark => `  (${mark})`).join('')
  console.log(`${name.padEnd(16)} p50 ${ms(p50Ms)}  p99 ${ms(p99Ms)}  late ${ms(lateMs)}  gateway ran ` +
    `${share('ranMs')}, waited for its core ${share('waitedMs')}  ` +
    `load average ${loadavg()[0].toFixed(1)}${note}`)
  return result
}

/**
 * How long the main thread of a process has run, and how long it could have and others had its core: what else goes on
 * on this machine costs latency that is not of the gateway.
 */
function scheduled (pid) {
  const [ran, waited] = readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')
  return { ranMs: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6, atMs: performance.now() }
}

/** Ended by `stop`, whatever it is at. */
function runAgainAndAgain (command, { controlPort, apiKey }) {
  const args = [command, '--url', `http://127.0.0.1:${controlPort}`, '--api-key', apiKey, '--json', '--no-progress']
  const startMs = performance.now()
  const done = { runs: 0, entries: 0, seconds: 0 }
  let child
  let ending = false
  const loop = async () => {
    for (;;) {
      child = spawnPinned(loadCore, [process.execPath, program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
      const [code, output, complaint] = await ended(child)
      if (ending) return
      // 1 says that it has found something, which live traffic may make it.
      if (code > 1) throw new Error(`${command} ended with ${code}: ${complaint}`)
      const last = JSON.parse(output.trim().split('\n').at(-1))
      done.runs++
      done.entries += (last.books ?? last).entries
      done.seconds = (performance.now() - startMs) / 1000
    }
  }
  const looping = loop()
  looping.catch(() => {}) // told by stop
  return {
    async stop () {
      ending = true
      if (child) await stopChild(child)
      await looping
      return done
    },
  }
}

function ended (child) {
  return new Promise((resolve, reject) => {
    let output = ''
    let complaint = ''
    child.stdout.on('data', chunk => { output += chunk })
    child.stderr.on('data', chunk => { complaint += chunk })
    child.once('error', reject)
    child.once('close', code => resolve([code ?? -1, output, complaint]))
  })
}

async function caughtUp ({ controlPort, apiKey }) {
  const endMs = performance.now() + caughtUpMsMax
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${controlPort}/v1/lag`, { headers: { authorization: `Bearer ${apiKey}` } })
    const { followers } = await response.json()
    if (followers.every(({ blocks }) => blocks === 0)) return
    if (performance.now() > endMs) throw new Error(`the gateway is still behind after ${caughtUpMsMax} ms`)
    await wait(500)
  }
}

function ms (value) {
  return `${value.toFixed(2)} ms`.padStart(10)
}
