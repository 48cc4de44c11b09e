import t from 'tap'
import { Connection } from '../../../actors/connection/connection.js'
import type { EdgeContext } from '../../../actors/connection/edge-context.js'
import { tallyOf } from '../../../actors/connection/tally.js'
import type { Wire } from '../../../actors/connection/wire.js'
import { startActors } from '../../../actors/system.js'
import { Edge } from '../../../gateway/edge/edge.js'
import { Reports } from '../../../gateway/edge/reports.js'
import { EncodeError } from '../../../ledger/encode-error.js'
import { appendAcceptable } from '../../../ledger/pieces.js'
import { GatewayError } from '../../../schemas/errors.js'
import type { Entry, Fact } from '../../../schemas/facts.js'
import { ledger } from '../../../schemas/streams.js'
import { until } from '../node.js'

/** A connection and a ledger that may be away. */
function given () {
  const appended: Fact[] = []
  const later: Fact[] = []
  const ledger = { isAway: false, attempts: 0 }
  const edge = {
    ticks: () => 0,
    limits: { frameBurst: 0 },
    flow: { rates: { byteBurst: 0 } },
    appendLater (_partition: number, { fact }: Entry) { later.push(fact) },
  } as unknown as EdgeContext
  const connection = new Connection({} as Wire, edge)
  connection.life.welcome()
  connection.connectionId = 'c1'
  const reports = new Reports(async (_partition, entries) => {
    ledger.attempts++
    if (ledger.isAway) throw new Error('the ledger is away')
    appended.push(...entries.map(({ fact }) => fact))
  })
  const refuse = (code: string, seq: number) => {
    tallyOf(connection).refused(code, seq, seq, 1)
    reports.add(connection)
  }
  return { appended, later, ledger, connection, refuse }
}

const refused = { type: 'UplinksRefused', connectionId: 'c1' }

t.test('Refused uplinks', async t => {
  t.test('are told as one fact for each code', async t => {
    const { appended, refuse } = given()
    for (const seq of [5, 6, 7]) refuse('throttled', seq)
    refuse('overloaded', 9)
    await until('they are told', () => appended.length > 0)
    t.strictSame(appended, [
      { ...refused, code: 'throttled', fromSeq: 5, toSeq: 7, count: 3 },
      { ...refused, code: 'overloaded', fromSeq: 9, toSeq: 9, count: 1 },
    ])
  })

  t.test('are told once the ledger is back, with those of meanwhile', async t => {
    const { appended, ledger, refuse } = given()
    ledger.isAway = true
    refuse('ledger-unavailable', 5)
    await until('it was tried', () => ledger.attempts > 0)
    refuse('ledger-unavailable', 6)
    ledger.isAway = false
    await until('they are told', () => appended.length > 0)
    t.strictSame(appended, [{ ...refused, code: 'ledger-unavailable', fromSeq: 5, toSeq: 6, count: 2 }])
  })

  t.test('are not told before the opening of their connection is stored, which they could overtake', async t => {
    const { appended, connection, refuse } = given()
    connection.life.open(0, 0)
    refuse('overloaded', 5)
    const other = given()
    other.refuse('overloaded', 1)
    await until('others of that second are told', () => other.appended.length > 0)
    t.strictSame(appended, [])
    connection.life.welcome()
    await until('they are told', () => appended.length > 0)
  })

  t.test('of a connection that has ended meanwhile are kept as its end is', async t => {
    const { later, ledger, connection, refuse } = given()
    ledger.isAway = true
    refuse('ledger-unavailable', 5)
    connection.life.end()
    await until('they are kept', () => later.length > 0)
    t.strictSame(later, [{ ...refused, code: 'ledger-unavailable', fromSeq: 5, toSeq: 5, count: 1 }])
    t.equal(ledger.attempts, 1)
  })
})

t.test('What the ledger will never take', async t => {
  const never = new EncodeError(new RangeError('long: got 2e60'))

  t.test('of the reports of several connections is set aside, and the others are told', async t => {
    const told: string[] = []
    const aside: string[] = []
    const log = {
      async append (_stream: unknown, partition: number, entries: readonly unknown[]) {
        const users = (entries as readonly Entry[]).map(({ userId }) => userId)
        if (users.includes('bad')) throw never
        told.push(...users)
        return { partition, offset: 0n, index: 0 }
      },
    }
    const reports = new Reports((partition, entries) => appendAcceptable(log, ledger, partition, entries, {},
      ({ userId }) => { aside.push(userId) }))
    for (const userId of ['ann', 'bad', 'bob']) {
      const { connection } = given()
      connection.userId = userId
      connection.cursor.take(1)
      reports.add(connection)
    }
    reports.flush()
    await until('they are told', () => told.length === 2)
    t.strictSame([told, aside], [['ann', 'bob'], ['bad']])
    reports.flush()
    t.strictSame(aside, ['bad'], 'and is not tried again')
  })

  t.test('of the ends of connections is set aside, and not tried again', async t => {
    const tries: string[] = []
    const aside: string[] = []
    const { connection } = given()
    const context = Object.assign(connection.edge, {
      limits: { heartbeatMs: 40, handshakeMs: 40, lingerMs: 10 },
      intake: {},
      async append (_partition: number, [{ userId }]: [Entry]) {
        tries.push(userId)
        if (userId === 'bad') throw never
        if (tries.length < 4) throw new GatewayError('ledger-unavailable')
      },
      setAside ({ userId }: Entry) { aside.push(userId) },
    })
    const system = startActors()
    t.teardown(() => { system.stop() })
    const bounds = { connectionsMax: 1, acceptRate: 0, lingerersMax: 1, ageMaxMs: 0 }
    const sockets = new Edge(context as unknown as EdgeContext, system, bounds)
    t.teardown(() => sockets.stop())
    for (const userId of ['ann', 'bad']) sockets.appendLater(0, { userId } as Entry)
    await until('the ledger has taken one', () => tries.length === 4)
    t.strictSame([tries, aside], [['ann', 'bad', 'ann', 'ann'], ['bad']])
  })
})
