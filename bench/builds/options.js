import { fileURLToPath } from 'node:url'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { names, number } from '../options.js'
import { measurements } from './measurements.js'

const usage = `npm run bench:builds -- [options]

  --only NAMES     of ${measurements.map(({ id }) => id).join(', ')};
                   a beginning will do: flood
  --program FILE   another build's ledgerline.js, measured in turns with this one
  --rounds N       of every measurement, where it shall not be 1 to 3 as each has it
  --seconds N      of every window, 5 by default
  --flood N        seconds of a flood, 60 by default
  --patience N     seconds of the whole run that it may wait for other programs to rest before a round, 0 by default
  --quick          one round, one second, little of everything: is everything working?
  --out DIRECTORY  for builds.md and builds.json, docs/bench by default
  --this FILE      this build's ledgerline.js, dist/cli/ledgerline.js by default`

/**
 * @typedef {object} Options
 * @property {string[]} only
 * @property {number | undefined} rounds
 * @property {number} warmMs
 * @property {number} windowMs
 * @property {number} floodMs
 * @property {number} settleMs see measure/idle.js
 * @property {number[]} idleConnections
 * @property {number} patienceMs
 * @property {boolean} quick
 * @property {string} out directory
 * @property {Record<'this' | 'other', string>} programs `other` where there is one
 */

/** @returns {Options} @throws TypeError naming the option that is wrong */
export function readOptions (args) {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', default: '' },
      program: { type: 'string' },
      this: { type: 'string', default: local('../../dist/cli/ledgerline.js') },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      flood: { type: 'string' },
      patience: { type: 'string', default: '0' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: local('../../docs/bench') },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(usage)
    process.exit(0)
  }
  const { quick, out, program } = values
  const rounds = values.rounds ?? (quick ? '1' : undefined)
  return {
    only: names(values.only),
    rounds: rounds === undefined ? undefined : number('rounds', rounds, 1, 100),
    warmMs: quick ? 500 : 1_200,
    windowMs: number('seconds', values.seconds ?? (quick ? '1' : '5'), 0.2, 60) * 1000,
    floodMs: number('flood', values.flood ?? (quick ? '2' : '60'), 0.2, 100) * 1000,
    settleMs: quick ? 500 : 4_000,
    idleConnections: quick ? [200, 1_000] : [1_000, 10_000],
    patienceMs: number('patience', values.patience, 0, 3_600) * 1000,
    quick,
    out,
    programs: { this: resolve(values.this), ...(program ? { other: resolve(program) } : {}) },
  }
}

function local (path) {
  return fileURLToPath(new URL(path, import.meta.url))
}
