import t, { type Test } from 'tap'
import { type ConnectionMessage, type Links, localLinks } from '../../../actors/links.js'
import { Partition } from '../../../actors/partition.js'
import { StoppedActors } from '../../../actors/stopped-actors.js'
import { type AskUnwritten, type Unwritten, UnwrittenDownlinks } from '../../../actors/user/unwritten.js'
import type { Entry } from '../../../schemas/facts.js'
import { ledger } from '../../../schemas/streams.js'
import { given, limits, of, until } from '../given.js'
import { givenUser } from './given-user.js'
import { at, closed, opened, reported, requested, skipped } from './history.js'

/* The last downlink of a connection: an edge that misses it knows nothing of it. */

/** Long enough for the first time that something is told again. */
const aSecond = () => new Promise(resolve => { setTimeout(resolve, 1_100) })

/** A partition of a ledger, whose links to edges may lose what they carry. */
async function givenPartition (t: Test, { mayLose = true, historyAgeMs = Infinity, before = [] as Entry[] } = {}) {
  const sent: ConnectionMessage[] = []
  const links: Links = { ...localLinks(), mayLose: () => mayLose, toConnection: message => { sent.push(message) } }
  const { log, deps } = await given(t, t.testdir(), {
    links: { ...localLinks(), ...links }, limits: { ...limits, historyAgeMs },
  })
  if (before.length > 0) await log.append(ledger, 0, before)
  const open = () => Partition.open(0, deps, new StoppedActors(), () => {})
  let partition = await open()
  t.teardown(() => partition.revoke())
  const delivered = () => sent.splice(0).filter(message => message.type === 'deliver')
    .map(({ connectionId, seq, downlink: { messageId } }) => `${connectionId} ${seq} ${messageId}`)
  const receive = async (from: bigint) => {
    for await (const block of log.read(ledger, 0, { from })) await partition.received(block)
    await until(() => partition.progress.folded === partition.progress.received)
    return delivered()
  }
  return {
    receive,
    /** What connections were sent by these. */
    async fold (entries: readonly Entry[]): Promise<string[]> {
      const { next } = await log.bounds(ledger, 0)
      await log.append(ledger, 0, entries)
      return await receive(next)
    },
    /** What they are sent again, once a second has passed. */
    async sweep (): Promise<string[]> {
      await aSecond()
      partition.sweep(Date.now())
      for (let i = 0; i < 20; i++) await new Promise(resolve => { setImmediate(resolve) })
      return delivered()
    },
    async nextOwner (): Promise<void> {
      await partition.checkpoint()
      await partition.revoke()
      partition = await open()
    },
  }
}

t.test('The last downlink of a connection', async t => {
  t.test('is told again until the ledger says that it is written', async t => {
    const world = await givenPartition(t)
    t.strictSame(await world.fold(of('ann', opened('c1'), requested('m1'), requested('m2'))), ['c1 1 m1', 'c1 2 m2'])
    t.strictSame(await world.sweep(), ['c1 2 m2'], 'the last one alone: its edge asks for those before it')
    await world.fold(of('ann', reported('c1', 0, 1)))
    await world.nextOwner()
    t.strictSame(await world.sweep(), ['c1 2 m2'], 'by the next owner of the partition, too')
    await world.fold(of('ann', reported('c1', 0, 2)))
    await world.nextOwner()
    t.strictSame(await world.sweep(), [])
  })

  t.test('is not told to a connection that has ended, nor once it is gone', async t => {
    const world = await givenPartition(t)
    await world.fold(of('ann', opened('c1'), requested('m1')))
    await world.fold(of('ben', opened('c2'), requested('m1')))
    await world.fold([...of('ann', closed('c1')), ...of('ben', skipped('c2', 1))])
    t.strictSame(await world.sweep(), [])
  })

  t.test('is told once where nothing gets lost', async t => {
    const world = await givenPartition(t, { mayLose: false })
    t.strictSame(await world.fold(of('ann', opened('c1'), requested('m1'))), ['c1 1 m1'])
    t.strictSame(await world.sweep(), [])
  })

  t.test('is told though nobody owned the partition for long after it was requested', async t => {
    const world = await givenPartition(t, { mayLose: false, historyAgeMs: 60_000, before: of('ann', opened('c1'), requested('m1')) })
    t.strictSame(await world.receive(0n), [], 'not at once: most of a long replay is of connections that have ended')
    t.strictSame(await world.sweep(), ['c1 1 m1'])
  })

  t.test('is not told again where a replay has it and that it was written', async t => {
    const world = await givenPartition(t, {
      mayLose: false, historyAgeMs: 60_000, before: of('ann', opened('c1'), requested('m1'), reported('c1', 0, 1)),
    })
    await world.receive(0n)
    t.strictSame(await world.sweep(), [])
  })
})

t.test('A user\'s actor says which downlink a connection is to write by its number, without its payload', async t => {
  const told: unknown[] = []
  const user = givenUser(t, { deps: { delivers (...args) { told.push(args) } } })
  await user.fold(opened('c1'), requested('m1'))
  t.strictSame(told, [[{ userId: 'ann', nodeId: 'n1', connectionId: 'c1', seq: 1 }, false]])
})

t.test('Downlinks that are not written', async t => {
  const asked: AskUnwritten[] = []
  const given = (...before: Unwritten[]) => new UnwrittenDownlinks({
    partition: 0, before, mayLose: () => true, ask: question => { asked.push(question) },
  })
  const downlink = (connectionId: string, seq = 1): Unwritten => ({ userId: 'ann', nodeId: 'n1', connectionId, seq })
  t.beforeEach(() => { asked.length = 0 })

  t.test('are told again after 1, 5 and 30 s, and every 30 s from then on', async t => {
    const unwritten = given()
    unwritten.told(downlink('c1'), false)
    const beganMs = performance.now()
    for (const [i, ms] of [1_000, 5_000, 30_000, 60_000, 90_000].entries()) {
      unwritten.repeat(beganMs + ms - 100)
      t.equal(asked.length, i, `not before ${ms} ms`)
      unwritten.repeat(beganMs + ms + i)
      t.equal(asked.length, i + 1, `after ${ms} ms`)
    }
    asked[0]!.over()
    unwritten.repeat(beganMs + 3_600_000)
    t.equal(asked.length, 5, 'until the connection has nothing to write')
    t.strictSame(unwritten.all, [])
  })

  t.test('are for the next owner once they were told again', async t => {
    const unwritten = given()
    unwritten.told(downlink('c1', 7), false)
    t.strictSame([unwritten.takeChanged(), unwritten.all], [false, []], 'not those of the last second')
    unwritten.repeat(performance.now() + 1_000)
    t.strictSame([unwritten.takeChanged(), unwritten.all], [true, [downlink('c1', 7)]])
    const next = given(...unwritten.all)
    next.folded([at(0, reported('c1', 0, 6))])
    t.equal(next.size, 1)
    next.takeChanged()
    next.folded([at(0, reported('c1', 0, 7))])
    t.strictSame([next.takeChanged(), next.all], [true, []])
  })

  t.test('are kept up to a MiB of them', async t => {
    const unwritten = given()
    for (let i = 0; i < 20_000; i++) unwritten.told(downlink(`c${i}`), false)
    const { size } = unwritten
    t.ok(size > 4_000 && size < 6_000, `${size} of 20,000`)
    unwritten.repeat(performance.now() + 1_000)
    t.equal(asked.at(-1)!.connectionId, 'c19999', 'those that were told last')
  })
})
