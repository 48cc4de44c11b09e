/* Ledgerline beside its peers: every measurement in rounds, the peers in turn within each round (A B C, A B C, ...). */
import { mkdtempSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measurements } from './measure/measurements.js'
import { peers } from './peers/peers.js'
import { pinned } from './peers/process.js'
import { machine } from './report/machine.js'
import { printProfile } from './profile.js'
import { startProgress } from './report/progress.js'
import { printTables } from './report/console.js'
import { choose, readOptions } from './options.js'
import { summarise } from './report/summary.js'
import { writeReports } from './report/files.js'

const root = fileURLToPath(new URL('../', import.meta.url))
const { options, chosen, chosenPeers } = readOptionsOrExit()
const temporary = mkdtempSync(join(tmpdir(), 'ledgerline-bench-'))
process.on('exit', () => rmSync(temporary, { recursive: true, force: true, maxRetries: 3 }))

const about = machine(temporary)
if (!pinned) console.error('taskset or a second core is missing: server and load are not pinned to cores of their own')
if (about.temporaryFileSystem === 'tmpfs') {
  console.error('the temporary directory is in memory, where a sync costs nothing: set TMPDIR to a directory on a disk')
}

const plan = chosen.flatMap(measurement => roundsOf(measurement))
const progress = startProgress(plan.length)
/** @type {Map<string, object[]>} results by measurement and peer */
const results = new Map()
for (const [index, { measurement, peer, round }] of plan.entries()) {
  progress.show(`${measurement.id}, ${peer.label}, round ${round} of ${options.rounds}`)
  const result = await runOnce(measurement, peer, index)
  const key = `${measurement.id} ${peer.name}`
  results.set(key, [...results.get(key) ?? [], result])
  progress.done(measurement, peer, result)
}
progress.end()

const summary = summarise(chosen, chosenPeers, results)
printTables(summary)
if (options.profile) printProfile(temporary)
else writeReports(options.out, { machine: about, options, measurements: summary }, measurements.map(({ id }) => id))

function roundsOf (measurement) {
  const taking = chosenPeers.filter(({ name }) => measurement.peers.includes(name))
  const rounds = Array.from({ length: options.rounds }, (_, i) => i + 1)
  return rounds.flatMap(round => taking.map(peer => ({ measurement, peer, round })))
}

/** @returns {Promise<object>} figures, or `error` or `missing` with the reason why there are none */
async function runOnce (measurement, peer, index) {
  const missing = peer.missing()
  if (missing) return { missing }
  const dataDir = join(temporary, `data-${index}`)
  const profileDir = options.profile ? join(temporary, `${measurement.id}-${peer.name}.profile`) : undefined
  try {
    return await measurement.run({ peer, options: { ...options, profileDir }, dataDir })
  } catch (err) {
    // Reports are published: no paths of this machine.
    return { error: err.message.replaceAll(root, '') }
  } finally {
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 })
  }
}

function readOptionsOrExit () {
  try {
    const options = readOptions(process.argv.slice(2))
    return {
      options,
      chosen: choose('only', options.only, measurements),
      chosenPeers: choose('peers', options.peers, peers),
    }
  } catch (err) {
    console.error(err.message)
    process.exit(2)
  }
}
