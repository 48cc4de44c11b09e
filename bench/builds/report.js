import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { printTables } from '../report/console.js'
import { linesOf } from '../report/text.js'

/** One table a measurement. */
export function print ({ loadAverages, measurements }) {
  printTables(measurements, { ratioTo: 'to other' })
  console.log(`\n${loadText(loadAverages)}`)
}

/** Writes builds.json and builds.md into `directory`. */
export function write (directory, report) {
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'builds.json'), JSON.stringify(report, null, 2) + '\n')
  writeFileSync(join(directory, 'builds.md'), markdown(report))
  console.log(`\nwritten: builds.json and builds.md in ${directory}`)
}

function markdown ({ machine, options, loadAverages, measurements }) {
  const about = `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node.slice(1)}, data on ` +
    machine.temporaryFileSystem
  const intro = `${about}. ${options.otherBuild ? 'This build and another one, in turns. ' : ''}Medians of the rounds; ` +
    `windows of ${options.windowMs / 1000} s, floods of ${options.floodMs / 1000} s. ${loadText(loadAverages)} ` +
    '"server" and "load" are shares of a core.'
  const tables = measurements.map(summary => [
    `## ${summary.title}`,
    '',
    '| | | median | min - max | to the other | goal | | server | load | |',
    '| --- | --- | ---: | ---: | ---: | --- | --- | ---: | ---: | --- |',
    ...linesOf(summary).map(line => `| ${[line.label, line.figure, line.median, line.range, line.ratio, line.goal,
      line.verdict, line.server, line.load, line.remark].join(' | ')} |`),
  ].join('\n'))
  return ['# Two builds', intro, ...tables].join('\n\n') + '\n'
}

/** How busy the machine was with anything, this benchmark included. */
function loadText ({ before, after }) {
  return `Load average of the last minute before the run ${before.toFixed(1)}, at its end ${after.toFixed(1)}.`
}
