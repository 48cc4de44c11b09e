import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { downlinks } from './measure/fanout.js'
import { peers } from './peers/peers.js'
import { goingFirst } from './peers/process.js'
import { median } from './report/summary.js'
import { startProgress } from './report/progress.js'
import { uplinks } from './measure/uplinks.js'

/*
  What the streams `presence`, `receipts` and `offline` take of a gateway's throughput: one that writes them and one
  that does not, in turns. A receipt is written for each acked downlink, so downlinks are measured too.

    node bench/business-streams.js [ROUNDS]
*/

const rounds = Number(process.argv[2] ?? 5)
const streams = { on: {}, off: { LEDGERLINE_STREAMS_OFF: 'presence,receipts,offline' } }
const figures = [{ key: 'perSecond', label: 'a second' }]
const measurements = [
  { id: 'uplinks acked, 1 outstanding', figures, run: uplinks(1) },
  { id: 'uplinks acked, 16 outstanding', figures, run: uplinks(16) },
  { id: 'downlinks acked', figures, run: downlinks },
]
const peer = peers.find(({ name }) => name === 'ledgerline-tcp')
const program = fileURLToPath(new URL('../dist/cli/ledgerline.js', import.meta.url))
const alike = { program, serverFlags: [], before: goingFirst, warmMs: 1_200, windowMs: 5_000 }
const temporary = mkdtempSync(join(tmpdir(), 'ledgerline-bench-'))
process.on('exit', () => rmSync(temporary, { recursive: true, force: true, maxRetries: 3 }))

const progress = startProgress(measurements.length * rounds * 2)
for (const measurement of measurements) {
  const perSecond = { on: [], off: [] }
  for (let round = 0; round < rounds; round++) {
    for (const state of Object.keys(streams)) {
      progress.show(`${measurement.id}, streams ${state}, round ${round + 1} of ${rounds}`)
      const options = { ...alike, env: streams[state] }
      const dataDir = join(temporary, `${measurement.id} ${state} ${round}`)
      const result = await measurement.run({ peer, options, dataDir })
      perSecond[state].push(result.perSecond)
      progress.done(measurement, peer, result)
    }
  }
  const [on, off] = [median(perSecond.on), median(perSecond.off)]
  const ratio = (on / off).toFixed(2)
  console.log(`${measurement.id}: ${Math.round(on)} a second with them, ${Math.round(off)} without: ${ratio} x`)
}
progress.end()
