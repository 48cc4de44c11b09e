import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { printTables } from '../report/console.js'
import { draw } from '../report/svg.js'
import { linesOf, shareText } from '../report/text.js'

/** Tables, and below one who took how much of the cores. */
export function print (results) {
  for (const summary of results.measurements) {
    printTables([summary])
    const shares = sharesText(summary)
    if (shares) console.log(`  ${shares}`)
  }
  console.log(`\n${loadText(results)}`)
}

/** Writes cluster.json, cluster.svg and cluster.md into `directory`. */
export function write (directory, results) {
  mkdirSync(directory, { recursive: true })
  const about = aboutText(results)
  const picture = draw(results.measurements, about).replace('table.md', 'cluster.md')
    .replace('Ledgerline beside its peers', 'Ledgerline as a cluster')
  writeFileSync(join(directory, 'cluster.json'), JSON.stringify(results, null, 2) + '\n')
  writeFileSync(join(directory, 'cluster.svg'), picture)
  writeFileSync(join(directory, 'cluster.md'), markdown(results, about))
  console.log(`\nwritten: cluster.json, cluster.svg and cluster.md in ${directory}`)
}

function markdown (results, about) {
  const { options, servers, measurements } = results
  const intro = [
    `${about}. Medians of ${options.rounds} rounds. ${loadText(results)}`,
    servers ? `One broker (Kafka ${servers.kafkaVersion}, acks=all, \`${servers.javaOptions}\`), one Redis,` : '',
    servers ? 'two edges, two nodes for users and push, one for projections and ip-config, and the clients: all of' : '',
    servers ? 'them share the cores, pinned to none.' : '',
    'The embedded gateway and its load have a core each. "nodes" and "load" are shares of a core. The log\'s share and',
    'everything else are what the edges saw of one uplink after another, so a stall of all counts once there and for each',
    'uplink at the clients; from histograms whose bounds lie a quarter apart, interpolated within a bucket.',
  ].filter(Boolean).join(' ')
  const tables = measurements.map(summary => [
    `## ${summary.title}`,
    '',
    '| | | median | min - max | goal | | nodes | load | |',
    '| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | --- |',
    ...linesOf(summary).map(line => `| ${[line.label, line.figure, line.median, line.range, line.goal, line.verdict,
      line.server, line.load, line.remark].join(' | ')} |`),
    ...(sharesText(summary) ? ['', sharesText(summary)] : []),
  ].join('\n'))
  return ['# The cluster', intro, '![The figures](cluster.svg)', ...tables].join('\n\n') + '\n'
}

function sharesText ({ shares }) {
  const parts = Object.entries(shares).map(([name, share]) => `${name} ${shareText(share)}`)
  return parts.length > 0 ? `Shares of a core: ${parts.join(', ')}.` : ''
}

/** How busy the machine was with anything, this benchmark included. */
function loadText ({ loadAverages: { before, after } }) {
  return `Load average of the last minute before the run ${before.toFixed(1)}, at its end ${after.toFixed(1)}.`
}

function aboutText ({ machine }) {
  return `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node.slice(1)}, data on ` +
    machine.temporaryFileSystem
}
