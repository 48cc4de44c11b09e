import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { draw } from './svg.js'
import { linesOf } from './text.js'

/** Writes results.json, results.svg and table.md into `directory`. */
export function writeReports (directory, results) {
  mkdirSync(directory, { recursive: true })
  const { program, out, ...options } = results.options
  writeFileSync(join(directory, 'results.json'), JSON.stringify({ ...results, options }, null, 2) + '\n')
  writeFileSync(join(directory, 'results.svg'), draw(results.measurements, aboutText(results.machine)))
  writeFileSync(join(directory, 'table.md'), markdown(results))
  console.log(`\nwritten: results.json, results.svg and table.md in ${directory}`)
}

function markdown ({ machine, options, measurements }) {
  const intro = `${aboutText(machine)}. Medians of ${options.rounds} interleaved rounds of ` +
    `${options.windowMs / 1000} s${machine.pinned ? ', server and load each pinned to a core' : ''}; ` +
    '"server" and "load" are shares of a core.'
  const tables = measurements.map(summary => [
    `### ${summary.title}`,
    '',
    '| | | median | min - max | to Socket.IO | goal | | server | load | |',
    '| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |',
    ...linesOf(summary).map(line => `| ${[line.label, line.figure, line.median, line.range, line.ratio, line.goal,
      line.verdict, line.server, line.load, line.remark].join(' | ')} |`),
  ].join('\n'))
  return [intro, ...tables].join('\n\n') + '\n'
}

function aboutText (machine) {
  return `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node.slice(1)}, data on ` +
    machine.temporaryFileSystem
}
