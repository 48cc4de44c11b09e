/**
 * A process that saves states in the store of its first argument until it is killed, and prints the offset of each save
 * that resolved, and a line for each of the several commits that one takes. The second argument is how to commit.
 */
import { embeddedSnapshots } from '../../actors/snapshots-embedded.js'
import { openStore } from '../../ledger/embedded/store.js'
import { Owner, withMessagesOf } from './snapshots-model.js'

const [, , directory = '', commits = 'sync'] = process.argv
const store = await openStore({ directory, commits: commits as 'sync' | 'async', headroomBytes: 1 << 20 })
withMessagesOf(1_500_000)
store.register({ write () {}, committed () { process.stdout.write('commit\n') }, failed () {} })
const owner = new Owner(embeddedSnapshots(store))
await owner.begin()
for (let offset = owner.at + 1; ; offset += 20) {
  await owner.save(offset)
  process.stdout.write(`${offset}\n`)
}
