/**
 * A process that appends to the store in its first argument until it is killed, and prints each append that resolved:
 * partition, offset and text. The second argument is how to commit; the third is where the texts begin.
 */
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
    process.stdout.write(`${partition} ${offset} ${text}\n`)
  }
}

await Promise.all([0, 1, 2, 3].flatMap(partition => [appendForEver(partition), appendForEver(partition)]))
