import t from 'tap'
import { BroadcastReports } from '../../../gateway/broadcasts/reports.js'
import type { EventLog } from '../../../ledger/log.js'
import type { BroadcastReported, NodeEntry } from '../../../schemas/node-facts.js'
import { until } from '../node.js'

/** A log that stores when the test says so. */
function given () {
  const told: string[] = []
  const troubles = new Set<string>()
  let refusals = 0
  const release: Array<() => void> = []
  const log = {
    partitions: () => 1,
    async append (_stream: unknown, _partition: number, [entry]: [NodeEntry]) {
      await new Promise<void>(resolve => { release.push(resolve) })
      if (refusals-- > 0) throw new Error('the log is away')
      const { messageId, state, sent } = entry.fact as BroadcastReported
      told.push(`${messageId} ${state} ${sent}`)
    },
  } as unknown as EventLog
  const health = {
    begin (name: string, _reason: string, what: string) { troubles.add(`${name} ${what}`) },
    end (name: string, what: string) { troubles.delete(`${name} ${what}`) },
  }
  const reports = new BroadcastReports({ log, identity: { nodeId: 'n1', epoch: 1 }, health: health as never })
  return {
    reports,
    told,
    troubles,
    refuse (count: number) { refusals = count },
    async store () {
      await until('there is something to store', () => release.length > 0)
      release.splice(0).forEach(done => done())
      await new Promise(resolve => setImmediate(resolve))
    },
    pending: () => release.length,
  }
}

function report (messageId: string, state: string, sent: number): BroadcastReported {
  return { type: 'BroadcastReported', app: '', messageId, state, sent, slow: 0, left: 0 }
}

t.test('Reports of broadcasts', async t => {
  t.test('tell the last of those that came while one was being told', async t => {
    const { reports, told, store, pending } = given()
    reports.add(report('m1', 'running', 0))
    reports.add(report('m1', 'running', 1))
    reports.add(report('m1', 'done', 2))
    reports.add(report('m2', 'running', 0))
    for (let i = 0; i < 3; i++) await store()
    t.strictSame(told, ['m1 running 0', 'm1 done 2', 'm2 running 0'])
    t.equal(pending(), 0)
    reports.add(report('m2', 'done', 5))
    await store()
    t.equal(told.at(-1), 'm2 done 5', 'and go on')
    await reports.stop()
  })

  t.test('are told again where the log was away', async t => {
    const { reports, told, troubles, refuse, store } = given()
    refuse(1)
    reports.add(report('m1', 'running', 0))
    await store()
    t.strictSame([...troubles], ['reports broadcasts'])
    reports.add(report('m1', 'done', 2))
    await store()
    t.strictSame(told, ['m1 done 2'])
    t.equal(troubles.size, 0)
    await reports.stop()
  })
})
