/* Ledgerline as a cluster on this machine: one Kafka, one Redis, five nodes; every measurement in rounds. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { javaOptions, startServers } from './cluster/servers.js'
import { layout, Nodes } from './cluster/nodes.js'
import { patience } from './cluster/patience.js'
import { print, write } from './cluster/report.js'
import { choose } from './options.js'
import { goals } from './cluster/goals.js'
import { machine } from './report/machine.js'
import { measurements } from './cluster/measurements.js'
import { printProfile } from './profile.js'
import { pidsOf } from './cluster/shares.js'
import { readOptions } from './cluster/options.js'
import { startProgress } from './report/progress.js'
import { summariseRows } from './report/rows.js'

const root = fileURLToPath(new URL('../', import.meta.url))
const { options, chosen } = readOptionsOrExit()
const temporary = mkdtempSync(join(tmpdir(), 'ledgerline-bench-'))
process.on('exit', () => rmSync(temporary, { recursive: true, force: true, maxRetries: 3 }))

const before = loadavg()[0]
const wholeCluster = chosen.filter(({ needs }) => needs !== 'none')
const alone = chosen.filter(({ needs }) => needs === 'none')
const calm = patience(options.patienceMs)
const progress = startProgress(chosen.length * options.rounds)
/** @type {Map<string, object[]>} rounds by measurement */
const results = new Map(chosen.map(({ id }) => [id, []]))
const servers = wholeCluster.length > 0 ? await runWithCluster() : undefined
// With the servers gone: these are compared with what `npm run bench` measures.
await runRounds(alone, { options, temporary })
progress.end()

const report = {
  machine: machine(temporary),
  options: published(options),
  servers: servers && { kafkaVersion: servers.kafkaVersion, javaOptions },
  loadAverages: { before, after: loadavg()[0] },
  measurements: summariseRows(chosen, results, goals),
}
print(report)
if (options.profile) printProfile(temporary)
else write(options.out, report)
process.exitCode = [...results.values()].flat().some(({ error }) => error) ? 1 : 0

/** @returns the servers, which have ended by then */
async function runWithCluster () {
  progress.show('starting Kafka and Redis')
  const servers = await startServers(options.build)
  const program = join(options.build, 'cli/ledgerline.js')
  const nodes = new Nodes({ program, dataDir: temporary, brokers: servers.brokers, redisUrl: servers.redisUrl })
  try {
    // Without nodes where only Kafka is needed: they are not idle.
    await runRounds(chosen.filter(({ needs }) => needs === 'servers'), { servers, options, temporary })
    const withNodes = chosen.filter(({ needs }) => needs === 'nodes')
    if (withNodes.length > 0) {
      progress.show('starting the nodes')
      await nodes.start(...Object.keys(layout))
      await runRounds(withNodes, { nodes, servers, options, temporary })
    }
  } finally {
    await nodes.stop()
    await servers.stop()
  }
  return servers
}

async function runRounds (taking, ctx) {
  for (let round = 1; round <= options.rounds; round++) {
    for (const measurement of taking) {
      progress.show(`${measurement.id}, round ${round} of ${options.rounds}`)
      await calm(pidsOf(ctx))
      const result = await runOnce(measurement, ctx)
      results.get(measurement.id).push(result)
      const [{ name }] = measurement.rows
      progress.done(measurement, undefined, { ...result.rows?.[name], error: result.error })
    }
  }
}

/** @returns {Promise<object>} figures by row, or `error` with the reason why there are none */
async function runOnce (measurement, ctx) {
  const profileDir = options.profile ? join(temporary, `${measurement.id}.profile`) : undefined
  try {
    return await measurement.run({ ...ctx, profileDir })
  } catch (err) {
    // Reports are published: no paths of this machine.
    return { error: err.message.replaceAll(root, '') }
  }
}

/** Without the paths of this machine. */
function published ({ program, build, out, ...rest }) {
  return { ...rest, otherBuild: program !== undefined }
}

function readOptionsOrExit () {
  try {
    const options = readOptions(process.argv.slice(2))
    for (const file of [join(options.build, 'cli/ledgerline.js'), options.program]) {
      if (file && !existsSync(file)) throw new Error(`no such build: ${file}`)
    }
    return { options, chosen: choose('only', options.only, measurements) }
  } catch (err) {
    console.error(err.message)
    process.exit(2)
  }
}
