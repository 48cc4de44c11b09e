/*
  What a build must reach: ratios to the other build where one is named, ratios within one run, and figures of bytes and
  memory, which do not depend on the machine. Latencies in ms hold for a machine whose disk syncs in 0.3 ms.
*/
const kb = 1 << 10
const mb = 1 << 20

const tcpAndWs = ['tcp', 'ws']
const p99Ratio = (measurement, max) => ({ measurement, row: 'this', figure: 'p99Ratio', max, text: `<= ${max} x` })

/** @type {import('../report/rows.js').Goal[]} */
export const goals = [
  ...['uplinks-1', 'uplinks-16'].flatMap(measurement => tcpAndWs.map(transport => ({
    measurement, row: `this-${transport}`, figure: 'perSecond', min: 0.97, toRow: `other-${transport}`, text: '>= 0.97 x',
  }))),
  ...['waiting-left', 'waiting-devices', 'waiting-never'].flatMap(measurement => [
    { measurement, row: 'this', figure: 'bytesRatio', max: 1.5, text: '<= 1.5 x' },
    { measurement, row: 'this', figure: 'handedRatio', max: 1.5, text: '<= 1.5 x' },
    p99Ratio(measurement, 1.5),
  ]),
  ...['this-connected', 'this-absent'].map(row => ({
    measurement: 'push-bytes', row, figure: 'bytes', max: 64 * kb, text: '<= 64 KB',
  })),
  { measurement: 'flood-largest', row: 'this', figure: 'rssBytesMax', max: 400 * mb, text: '<= 400 MB' },
  { measurement: 'flood-greedy', row: 'this', figure: 'rssBytesMax', max: 600 * mb, text: '<= 600 MB' },
  p99Ratio('flood-largest', 2),
  p99Ratio('flood-greedy', 5),
  p99Ratio('pushes-deaf', 2),
  ...['sixth', 'uplinks'].map(row => ({
    measurement: 'fair-log', row: `this-${row}`, figure: 'commitsP99', max: 3, text: '<= 3',
  })),
  { measurement: 'tail', row: 'this-uplinks', figure: 'p99Ms', max: 2, text: '<= 2 ms' },
  { measurement: 'tail', row: 'this-uplinks', figure: 'p999Ms', max: 8, text: '<= 8 ms' },
  { measurement: 'snapshot', row: 'this-after', figure: 'bytes', max: 2 * kb, text: '<= 2 KB' },
]
