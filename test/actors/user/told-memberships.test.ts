import t, { type Test } from 'tap'
import { type ConnectionMessage, type Links, localLinks, type MembershipsTold } from '../../../actors/links.js'
import { Partition } from '../../../actors/partition.js'
import { StoppedActors } from '../../../actors/stopped-actors.js'
import { ToldMemberships } from '../../../actors/user/told-memberships.js'
import type { Entry } from '../../../schemas/facts.js'
import { ledger } from '../../../schemas/streams.js'
import { given, of, until } from '../given.js'
import { closed, granted, opened, revoked } from './history.js'

/** Links that keep what goes out of them. */
function keeping (mayLose: boolean): { links: Links, sent: ConnectionMessage[] } {
  const sent: ConnectionMessage[] = []
  return { sent, links: { ...localLinks(), mayLose: () => mayLose, toConnection: message => { sent.push(message) } } }
}

async function givenPartition (t: Test, mayLose = true) {
  const { links, sent } = keeping(mayLose)
  const { log, deps } = await given(t, t.testdir(), { links: { ...localLinks(), ...links } })
  const partition = await Partition.open(0, deps, new StoppedActors(), () => {})
  t.teardown(() => partition.revoke())
  return {
    /** The rooms that connections were told of, by those of this step. */
    async fold (entries: readonly Entry[]): Promise<string[]> {
      sent.length = 0
      const { next: offset } = await log.bounds(ledger, 0)
      await log.append(ledger, 0, entries)
      for await (const block of log.read(ledger, 0, { from: offset })) await partition.received(block)
      await until(() => partition.progress.folded === partition.progress.received)
      return inShort(sent)
    },
    sweep (nowMs: number): string[] {
      sent.length = 0
      partition.sweep(nowMs)
      return inShort(sent)
    },
  }
}

function inShort (sent: readonly ConnectionMessage[]): string[] {
  return sent.filter(message => message.type === 'memberships')
    .map(({ connectionId, version, rooms }) => `${connectionId} ${version} ${rooms.map(({ roomId }) => roomId).join()}`)
}

t.test('The rooms that business has a user in', async t => {
  t.test('are told again to a connection that may have missed that one was taken from him', async t => {
    const world = await givenPartition(t)
    await world.fold(of('ann', opened('c1'), granted('r1', 'chat:7'), granted('r2', 'chat:8')))
    const beforeMs = Date.now()
    t.strictSame(await world.fold(of('ann', revoked('r3', 'chat:7'))), ['c1 3 chat:8'])
    const nowMs = Date.now()
    for (const ms of [1_000, 5_000, 30_000]) {
      t.strictSame(world.sweep(beforeMs + ms - 1), [], `not before ${ms} ms`)
      t.strictSame(world.sweep(nowMs + ms), ['c1 3 chat:8'], `after ${ms} ms`)
    }
    t.strictSame(world.sweep(nowMs + 3_600_000), [], 'and no more')
  })

  t.test('are told again as they are now, and to none whose end is in the ledger', async t => {
    const world = await givenPartition(t)
    await world.fold(of('ann', opened('c1'), opened('c2', { deviceId: 'tablet', sessionId: 's2' }), granted('r1', 'chat:7')))
    t.strictSame(world.sweep(Date.now() + 1_000), ['c1 1 chat:7', 'c2 1 chat:7'])
    await world.fold(of('ann', revoked('r2', 'chat:7')))
    await world.fold(of('ann', closed('c1')))
    t.strictSame(world.sweep(Date.now() + 1_000), ['c2 2 '])
  })

  t.test('are told once where nothing gets lost', async t => {
    const world = await givenPartition(t, false)
    t.strictSame(await world.fold(of('ann', opened('c1'), granted('r1', 'chat:7'))), ['c1 1 chat:7'])
    t.strictSame(world.sweep(Date.now() + 1_000), [])
  })

  t.test('are told again up to a MiB of them', t => {
    const { links, sent } = keeping(true)
    const told = new ToldMemberships(links)
    const tell = (connectionId: string, version = 1, rooms = 1_000) => {
      const message: MembershipsTold = {
        type: 'memberships',
        nodeId: 'n1',
        connectionId,
        version,
        rooms: Array.from({ length: rooms }, (_, i) => ({ roomId: `chat:${'x'.repeat(20)}${i}`, rights: 'r' })),
      }
      told.toConnection(message)
    }
    for (let n = 0; n < 30; n++) tell(`c${n}`)
    t.equal(sent.length, 30, 'all are told')
    const kept = told.size
    t.ok(kept > 5 && kept < 15, `${kept} are told again`)
    tell('c29')
    t.equal(told.size, kept, 'and one that is asked for again counts once')
    sent.length = 0
    told.repeat(Date.now() + 1_000)
    const last = Array.from({ length: kept }, (_, n) => `c${30 - kept + n}`)
    t.strictSame(sent.map(({ connectionId }) => connectionId), last, 'those that were told last')
    told.repeat(Date.now() + 5_000)
    told.repeat(Date.now() + 30_000)
    t.equal(told.size, 0)
    for (let n = 0; n < 100; n++) tell(`d${n}`, n, 1)
    t.equal(told.size, 100, 'and there is room again')
    t.end()
  })
})
