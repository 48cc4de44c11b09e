import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { noteStream } from './log-contract.js'

const appender = fileURLToPath(new URL('./appender.js', import.meta.url))
const rounds = 5

for (const commits of ['sync', 'async'] as const) {
  t.test(`a process that is killed again and again with ${commits} commits loses no append that resolved`, async t => {
    const directory = t.testdir()
    const printed: string[] = []
    for (let round = 0; round < rounds; round++) {
      const child = spawn(process.execPath, [appender, directory, commits, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
      t.teardown(() => child.kill('SIGKILL'))
      const enough = 50 + Math.floor(Math.random() * 1000)
      let lines = 0
      for await (const line of createInterface(child.stdout)) {
        printed.push(line)
        if (++lines === enough) child.kill('SIGKILL')
      }
    }
    const stream = { ...noteStream(), name: 'crash' }
    const store = await openStore({ directory })
    t.teardown(() => store.close())
    const log = embeddedLog(store)
    const stored = new Set<string>()
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      let last = -1n
      for await (const { offset, items } of log.read(stream, partition, { from: 0n })) {
        if (offset !== last + 1n) t.fail(`a gap before ${partition}@${offset}`)
        last = offset
        for (const { text } of items) stored.add(`${partition} ${offset} ${text}`)
      }
      t.equal((await log.bounds(stream, partition)).next, last + 1n)
    }
    t.ok(printed.length >= 50 * rounds, `${printed.length} were printed`)
    t.strictSame(printed.filter(line => !stored.has(line)), [])
  })
}
