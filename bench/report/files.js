import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { draw } from './svg.js'
import { linesOf } from './text.js'

/**
 * Writes results.json, results.svg and table.md into `directory`. Measurements that were made before and not now stay,
 * each with the run that it is of.
 *
 * @param {string[]} ids of all measurements, in the order in which they are shown
 */
export function writeReports (directory, { machine, options, measurements }, ids) {
  mkdirSync(directory, { recursive: true })
  const { program, out, ...shown } = options
  const run = { machine, options: shown }
  const file = join(directory, 'results.json')
  const all = new Map([...earlier(file), ...measurements.map(summary => [summary.id, { ...summary, run }])])
  const results = { ...run, measurements: ids.flatMap(id => all.get(id) ?? []) }
  writeFileSync(file, JSON.stringify(results, null, 2) + '\n')
  writeFileSync(join(directory, 'results.svg'), draw(results.measurements, aboutText(machine)))
  writeFileSync(join(directory, 'table.md'), markdown(results))
  console.log(`\nwritten: results.json, results.svg and table.md in ${directory}`)
}

/** @returns {Array<[string, object]>} measurements by id; none where the file is not there */
function earlier (file) {
  if (!existsSync(file)) return []
  const { machine, options, measurements } = JSON.parse(readFileSync(file, 'utf8'))
  return measurements.map(summary => [summary.id, { run: { machine, options }, ...summary }])
}

function markdown ({ machine, options, measurements }) {
  const intro = `${introOf({ machine, options })}; "server" and "load" are shares of a core.`
  const tables = measurements.map(summary => [
    `### ${summary.title}`,
    '',
    ...summary.run.machine.atMs === machine.atMs ? [] : [`An earlier run: ${introOf(summary.run)}.`, ''],
    '| | | median | min - max | to Socket.IO | goal | | server | load | |',
    '| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |',
    ...linesOf(summary).map(line => `| ${[line.label, line.figure, line.median, line.range, line.ratio, line.goal,
      line.verdict, line.server, line.load, line.remark].join(' | ')} |`),
  ].join('\n'))
  return [intro, ...tables].join('\n\n') + '\n'
}

function introOf ({ machine, options }) {
  return `${aboutText(machine)}. Medians of ${options.rounds} interleaved rounds of ${options.windowMs / 1000} s` +
    (machine.pinned ? ', server and load each pinned to a core' : '')
}

function aboutText (machine) {
  return `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node.slice(1)}, data on ` +
    machine.temporaryFileSystem
}
