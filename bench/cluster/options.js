import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { number } from '../options.js'

const usage = `npm run bench:cluster -- [options]

  --only NAMES     of latency, saturated, client-cpu, kill-users, kill-edge, embedded-1, embedded-16; a beginning will
                   do: kill
  --rounds N       of every measurement, 3 by default
  --seconds N      of every window, 5 by default; that of the latency is twice as long
  --patience N     seconds of the whole run that it may wait for other programs to rest before a round, 0 by default
  --quick          one round, one second: is everything working?
  --profile        one round with a CPU profile of the log's client (client-cpu), and the functions that took the most
  --out DIRECTORY  for cluster.md, cluster.json and cluster.svg, docs/bench by default
  --program FILE   another build's ledgerline.js, for the embedded gateway beside this one's
  --build FOLDER   what tsc wrote, dist by default`

/**
 * @typedef {object} Options
 * @property {string[]} only
 * @property {number} rounds
 * @property {number} warmMs before every window
 * @property {number} windowMs
 * @property {number} patienceMs
 * @property {boolean} quick
 * @property {boolean} profile
 * @property {string} out directory
 * @property {string | undefined} program of another build
 * @property {string} build directory of this one
 */

/** @returns {Options} @throws TypeError naming the option that is wrong */
export function readOptions (args) {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', default: '' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      patience: { type: 'string', default: '0' },
      quick: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      out: { type: 'string', default: local('../../docs/bench') },
      program: { type: 'string' },
      build: { type: 'string', default: local('../../dist') },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(usage)
    process.exit(0)
  }
  const { quick, profile, out, program, build } = values
  const only = values.only === '' && profile ? 'client-cpu' : values.only
  return {
    only: only.split(',').map(name => name.trim()).filter(Boolean),
    rounds: number('rounds', values.rounds ?? (quick || profile ? '1' : '3'), 1, 100),
    warmMs: quick ? 500 : 2000,
    windowMs: number('seconds', values.seconds ?? (quick ? '1' : '5'), 0.2, 60) * 1000,
    patienceMs: number('patience', values.patience, 0, 3600) * 1000,
    quick,
    profile,
    out,
    program,
    build,
  }
}

function local (path) {
  return fileURLToPath(new URL(path, import.meta.url))
}
