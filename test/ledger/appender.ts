/**
 * A process that appends to the store in its first argument until it is killed, and prints each append that resolved:
 * partition, offset and text. The second argument is how to commit; the third is where the texts begin.
 */
import { writeSync } from 'node:fs'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { note, noteStream } from './log-contract.js'

const [, , directory = '', commits = 'sync', round = '0'] = process.argv
const stream = { ...noteStream(), name: 'crash' }
const store = await openStore({ directory, commits: commits as 'sync' | 'async', headroomBytes: 1 << 20 })
const log = embeddedLog(store, { partitions: 4 })

async function appendForEver (partition: number): Promise<never> {
  for (let i = 0; ; i++) {
    const text = `${round}-${i}`
    const { offset } = await log.append(stream, partition, [note(text)])
    writeSync(1, `${partition} ${offset} ${text}\n`) // at once: what is in a buffer dies with the process
  }
}

await Promise.all([0, 1, 2, 3].flatMap(partition => [appendForEver(partition), appendForEver(partition)]))
