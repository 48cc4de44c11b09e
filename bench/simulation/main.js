/* Clients in virtual time: what they do to a cluster when a part of it dies, and how evenly they spread over a day. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { drawCharts, sparkline } from './chart.js'
import { policies } from './ip-config.js'
import { churn, fail, failures } from './scenarios.js'

const usage = `Usage: npm run bench:simulation -- [options]

  --clients N   1,000,000 by default
  --nodes N     edges, 100 by default
  --hours N     of the day of churn, 24 by default
  --seed N      1 by default; the same seed gives the same figures
  --only LIST   of ${[...failures.map(({ id }) => id), 'day'].join(', ')}
  --out DIR     docs/bench by default
  --json        print the figures as one JSON object, and write nothing`

/** Highest rate of attempts, as a share of the rate of the backoff's first interval; spread between the nodes. */
const goals = { peakShare: 2, spread: 0.1 }

const options = readOptions()
const has = id => options.only.includes(id)
const failed = []
for (const failure of failures.filter(({ id }) => has(id))) {
  const result = await fail(failure, options)
  if (!options.json) printFailure(result)
  failed.push(result)
}
const days = []
for (const policy of has('day') ? Object.keys(policies) : []) {
  const day = await churn(policy, options, share => progress(`${policy}, a day of churn`, share))
  if (!options.json) printDay(day)
  days.push(day)
}
const met = failed.every(({ peakShare, backToFull }) => peakShare <= goals.peakShare && backToFull) &&
  days.every(({ policy, worst }) => policy !== 'ledgerline' || worst < goals.spread)
if (options.json) console.log(JSON.stringify(figures()))
else writeReports()
if (!met) process.exitCode = 1

function printFailure (result) {
  console.log(`\n${result.title}: ${number(result.left)} of ${number(options.clients)} clients`)
  console.log(`  attempts a second   ${sparkline(result.attempts)}`)
  console.log(`  connected a second  ${sparkline(result.connected)}`)
  for (const [name, text] of failureRows(result)) console.log(`  ${name.padEnd(34)} ${text}`)
}

function failureRows ({ steady, peakShare, laterShare, backMs, failed, attempts, bucketMs }) {
  const seconds = ms => ms === undefined ? 'never' : `${(ms / 1000).toFixed(1)} s`
  return [
    ['steady rate of the backoff', `${number(steady)} attempts a second`],
    ['highest rate', `${number(peakShare * steady)}, ${peakShare.toFixed(2)} x (goal at most ${goals.peakShare} x)`],
    ['highest after the first interval', Number.isFinite(laterShare) ? `${laterShare.toFixed(2)} x` : 'none: all were back'],
    ['99 % and all of them back', `${seconds(backMs.most)}, ${seconds(backMs.all)}`],
    ['attempts, and those that failed', `${number(sum(attempts) * bucketMs / 1000)}, ${number(failed)}`],
  ]
}

function printDay (day) {
  console.log(`\n${day.policy}, ${options.hours} hours, ${number(day.connects)} connects: the spread of the nodes is ` +
    `${percent(day.median)} in the median, ${percent(day.worst)} at worst` +
    `${day.policy === 'ledgerline' ? ` (goal below ${percent(goals.spread)})` : ''}`)
  console.log(`  ${sparkline(day.spreads)}`)
}

function writeReports () {
  mkdirSync(options.out, { recursive: true })
  const { clients, nodes, seed } = options
  const about = `${number(clients)} clients, ${nodes} nodes, seed ${seed}; npm run bench:simulation`
  const charts = failed.map(({ title, attempts, connected, steady, peakShare, bucketMs }) => ({
    title,
    about: `attempts a second; highest ${peakShare.toFixed(2)} x the steady rate of the backoff`,
    x: 's',
    step: bucketMs / 1000,
    format: number,
    lines: [{ label: 'attempts', values: attempts }, { label: 'connected', values: connected }],
    bound: { label: `goal: ${goals.peakShare} x the steady rate`, value: goals.peakShare * steady },
  }))
  if (days.length > 0) {
    charts.push({
      title: 'Spread between the fullest and the emptiest node over a day of churn',
      about: 'as a share of the mean; the first two hours are left out',
      x: 'h',
      step: 1 / 60,
      format: percent,
      lines: days.map(({ policy, spreads }) => ({ label: policy, values: spreads.slice(120) })),
      bound: { label: 'goal', value: goals.spread },
    })
  }
  writeFileSync(join(options.out, 'simulation.svg'), drawCharts(charts, about))
  writeFileSync(join(options.out, 'simulation.json'), JSON.stringify(figures(), null, 1) + '\n')
  writeFileSync(join(options.out, 'simulation.md'), page(about))
}

function page (about) {
  const tables = failed.map(result => `## ${result.title}\n\n| | |\n| --- | --- |\n` +
    failureRows(result).map(([name, text]) => `| ${name} | ${text} |`).join('\n'))
  const day = days.length === 0
    ? []
    : ['## A day of churn\n\nSpread between the fullest and the emptiest node, as a share of the mean.\n\n' +
      '| ip-config chooses | connects | median | worst |\n| --- | --- | --- | --- |\n' +
      days.map(({ policy, connects, median, worst }) =>
        `| ${policy} | ${number(connects)} | ${percent(median)} | ${percent(worst)} |`).join('\n')]
  return `# Clients that reconnect, simulated\n\n${about}. How it is done: bench/README.md.\n\n` +
    `![Attempts over time, and the spread of the nodes](simulation.svg)\n\n${[...tables, ...day].join('\n\n')}\n`
}

function figures () {
  return {
    clients: options.clients,
    nodes: options.nodes,
    seed: options.seed,
    goals,
    met,
    failures: failed.map(({ attempts, connected, ...figures }) => figures),
    days: days.map(({ spreads, connected, ...figures }) => figures),
  }
}

function progress (what, share) {
  if (!process.stderr.isTTY) return
  const width = 40
  const done = Math.round(share * width)
  const bar = `${what} [${'#'.repeat(done)}${' '.repeat(width - done)}] ${percent(share)}`
  process.stderr.write(`\r\x1b[K${share < 1 ? bar : ''}`)
}

function sum (values) { return values.reduce((a, b) => a + b, 0) }

function number (value) { return Math.round(value).toLocaleString('en-US') }

function percent (share) { return `${(100 * share).toFixed(1)} %` }

function readOptions () {
  const ids = [...failures.map(({ id }) => id), 'day']
  try {
    const { values } = parseArgs({
      options: {
        clients: { type: 'string', default: '1000000' },
        nodes: { type: 'string', default: '100' },
        hours: { type: 'string', default: '24' },
        seed: { type: 'string', default: '1' },
        only: { type: 'string', default: ids.join(',') },
        out: { type: 'string', default: fileURLToPath(new URL('../../docs/bench', import.meta.url)) },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    if (values.help) {
      console.log(usage)
      process.exit(0)
    }
    const only = values.only.split(',')
    const unknown = only.find(id => !ids.includes(id))
    if (unknown !== undefined) throw new Error(`--only: got "${unknown}", want some of ${ids.join(', ')}`)
    return {
      ...values,
      only,
      clients: count('clients', values.clients, 1_000, 5_000_000),
      nodes: count('nodes', values.nodes, 6, 1_000),
      hours: count('hours', values.hours, 3, 48),
      seed: count('seed', values.seed, 0, 2 ** 31),
    }
  } catch (err) {
    console.error(`${err.message}\n\n${usage}`)
    process.exit(2)
  }
}

function count (name, text, least, most) {
  if (/^\d{1,10}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text)
  throw new Error(`--${name}: got "${text}", want ${least} to ${most}`)
}
