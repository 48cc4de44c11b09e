import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const usage = `npm run bench -- [options]

  --only NAMES     of idle, uplinks-1, uplinks-16, latency, signals, downlinks, room, rooms, joins, replay, jitter,
                   room-jitter, room-restart, office; a beginning will do: uplinks
  --peers NAMES    of ledgerline-tcp, ledgerline-ws, socket.io, socket.io-recovery, ws, aedes, mosquitto;
                   a beginning will do: ledgerline
  --rounds N       of every measurement, 3 by default
  --seconds N      of every window, 5 by default
  --settle N       seconds between opening connections and reading memory, 8 by default
  --quick          one round, one second, few connections: is everything working?
  --profile        one round with a CPU profile of Ledgerline, and the functions that took the most time
  --out DIRECTORY  for results.json, results.svg and table.md, docs/bench by default
  --program FILE   another build's ledgerline.js
  --server-flags F for every JavaScript server alike, as "--max-semi-space-size=1"`

/**
 * @typedef {object} Options
 * @property {string[]} only
 * @property {string[]} peers
 * @property {number} rounds
 * @property {number} warmMs before every window
 * @property {number} windowMs
 * @property {number} settleMs
 * @property {number[]} idleConnections the two counts that the slope is taken between
 * @property {boolean} quick
 * @property {boolean} profile
 * @property {string} out directory
 * @property {string} program
 * @property {string[]} serverFlags
 */

/** @returns {Options} @throws TypeError naming the option that is wrong */
export function readOptions (args) {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', default: '' },
      peers: { type: 'string', default: '' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      settle: { type: 'string' },
      quick: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      out: { type: 'string', default: local('../docs/bench') },
      program: { type: 'string', default: local('../dist/cli/ledgerline.js') },
      'server-flags': { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(usage)
    process.exit(0)
  }
  const { quick, profile } = values
  const once = quick || profile
  return {
    only: names(values.only),
    peers: values.peers === '' && profile ? ['ledgerline'] : names(values.peers),
    rounds: number('rounds', values.rounds ?? (once ? '1' : '3'), 1, 100),
    warmMs: quick ? 500 : 1200,
    windowMs: number('seconds', values.seconds ?? (quick ? '1' : '5'), 0.2, 60) * 1000,
    settleMs: number('settle', values.settle ?? (quick ? '0.5' : '8'), 0, 60) * 1000,
    idleConnections: quick ? [200, 1000] : [1000, 10_000],
    quick,
    profile,
    out: values.out,
    program: values.program,
    serverFlags: values['server-flags'].split(' ').filter(Boolean),
  }
}

/**
 * Those of `all` that an option asks for by name or, where no name fits exactly, by how names begin; all for no names.
 *
 * @template {{ id?: string, name?: string }} T
 * @param {string} option for the message
 * @param {string[]} asked
 * @param {T[]} all
 * @returns {T[]} in the order of `all`
 * @throws TypeError when a name fits nothing
 */
export function choose (option, asked, all) {
  if (asked.length === 0) return all
  const nameOf = thing => thing.id ?? thing.name
  const found = new Set(asked.flatMap(name => {
    const exact = all.filter(thing => nameOf(thing) === name)
    const fitting = exact.length > 0 ? exact : all.filter(thing => nameOf(thing).startsWith(name))
    if (fitting.length === 0) throw new TypeError(`--${option}: got ${name}, want some of ${all.map(nameOf).join(', ')}`)
    return fitting
  }))
  return all.filter(thing => found.has(thing))
}

/** @returns {string[]} of a list with commas */
export function names (text) {
  return text.split(',').map(name => name.trim()).filter(Boolean)
}

export function number (name, text, min, max) {
  const value = Number(text)
  if (!(value >= min && value <= max)) throw new TypeError(`--${name}: got ${text}, want ${min} to ${max}`)
  return value
}

function local (path) {
  return fileURLToPath(new URL(path, import.meta.url))
}
