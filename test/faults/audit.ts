import type { Test } from 'tap'
import { audit, type Books, type Violation } from '../../evidence/audit.js'
import { openStoredLog } from '../../ledger/embedded/reader.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import type { LogReader } from '../../ledger/log.js'
import { streams } from '../../ledger/streams.js'

/** How long the streams of a running cluster may take to have all that the ledger has, once nothing more happens. */
const derivedWithinMs = 120_000

export interface Audited {
  /** Each record stands once: not so in Kafka, where a takeover may repeat some. */
  readonly exact: boolean
}

/** The last step of every test that leaves a ledger behind: its books balance, and nothing is missing in any stream. */
export async function auditPasses (t: Test, log: LogReader, { exact }: Audited): Promise<void> {
  await t.test('has left a ledger whose books balance', async t => {
    let violations: Violation[] = []
    let books: Books
    const deadline = Date.now() + derivedWithinMs
    for (;;) {
      violations = []
      books = await audit(log, { exact, violation: violation => { violations.push(violation) } })
      // A node that has stopped has nothing on its way any more.
      if (exact || dueIn(books) === 0 || Date.now() > deadline) break
    }
    const { entries, downlinks, uplinks, told, connections, rooms, unjudged } = books
    t.comment(JSON.stringify({ entries, downlinks, uplinks, told, connections, rooms, unjudged }))
    t.strictSame(violations.slice(0, 20), [], `no violation among ${entries} entries`)
    t.equal(dueIn(books), 0, 'nothing is due')
    t.ok(entries > 0, 'and there was something to judge')
  })
}

/** In derived streams. */
function dueIn ({ uplinks, told, connections, rooms }: Books): number {
  const { presence, receipts, offline } = told
  return uplinks.due + presence.due + receipts.due + offline.due + connections.due + rooms.due + rooms.uplinksDue
}

/** The same for the data directory of a node that has stopped. */
export async function auditOfDirectory (t: Test, directory: string): Promise<void> {
  const log = await openStoredLog(directory)
  try {
    await auditPasses(t, log, { exact: true })
  } finally {
    await log.close()
  }
}

/** The same for the topics of a cluster, which may run; nobody may have anything to do just now. */
export async function auditOfTopics (t: Test, brokers: readonly string[], topicPrefix: string): Promise<void> {
  const log = await openKafkaLog({
    brokers: [...brokers],
    topicPrefix,
    clientId: 'audit',
    streams: streams.map(stream => ({ stream, partitions: 0 })),
    readOnly: true,
    failed: () => {},
  })
  try {
    await auditPasses(t, log, { exact: false })
  } finally {
    await log.close()
  }
}
