import t from 'tap'
import { roles } from '../../gateway/config.js'
import { comparable, savedStateOf, stateOf } from '../../actors/user/parts.js'
import type { EventLog } from '../../ledger/log.js'
import type { Fact } from '../../schemas/facts.js'
import { type Consumer, uplinksRead } from '../../simulation/consumer.js'
import type { Device } from '../../simulation/device.js'
import { GroupReaders } from '../../simulation/group-readers.js'
import { judge, unread } from '../../simulation/judge.js'
import { layout } from '../../simulation/layout.js'
import { saveAsBefore } from '../../simulation/older-states.js'
import { Network } from '../../simulation/network.js'
import type { Operator } from '../../simulation/operator.js'
import { Random } from '../../simulation/random.js'
import { Receiver } from '../../simulation/receiver.js'
import type { Service } from '../../simulation/service.js'
import { readEndedSessions, signOutFaults } from '../../simulation/sign-outs.js'
import { Disk } from '../../simulation/storage.js'
import { SnapshotStore } from '../../simulation/stores/snapshots.js'
import { jwtOf, opaqueOf, readOpaque } from '../../simulation/tokens.js'
import { World } from '../../simulation/world.js'
import { given, opened, requested, uplink } from '../actors/user/history.js'

const nobodysTurns = { later: () => () => {} }

t.test('A disk', async t => {
  await t.test('has some first part of what was being written at a crash, and not always the same', async t => {
    const sizes = new Set<number>()
    for (let seed = 0; seed < 100; seed++) {
      const disk = new Disk(new Random(seed))
      disk.storage(nobodysTurns).write(new Map([['a', '1'], ['b', '2'], ['c', '3']]))
      disk.crash()
      t.strictSame([...disk.kept.keys()], ['a', 'b', 'c'].slice(0, disk.kept.size))
      sizes.add(disk.kept.size)
    }
    t.strictSame([...sizes].sort(), [0, 1, 2, 3])
  })

  await t.test('lets the application end in the middle of its next write, and not where it has begun anew', async t => {
    const due: Array<[ms: number, run: () => void]> = []
    const turns = { later: (ms: number, _what: string, run: () => void) => { due.push([ms, run]); return () => {} } }
    const disk = new Disk(new Random(1))
    const storage = disk.storage(turns)
    let crashes = 0
    const end = () => {
      crashes++
      disk.crash()
    }
    disk.endInWrite(end)
    storage.write(new Map([['a', '1']]))
    const [[endMs, ends], [writtenMs]] = due as [typeof due[0], typeof due[0]]
    t.ok(endMs < writtenMs)
    ends()
    ends()
    t.equal(crashes, 1)
    disk.endInWrite(end)
    storage.write(new Map([['b', '2']]))
    disk.endInWrite(undefined)
    for (const [, run] of due) run()
    t.equal(crashes, 1)
  })
})

t.test('A group is given nothing long after it has acked it, however often it has acked since', async t => {
  const world = new World()
  const group = new GroupReaders(world, new Network(world), { addresses: [], apiKey: 'k', nodes: [] })
  const line = (userSeq: number) =>
    ({ cursor: '', partition: 0, place: { next: BigInt(userSeq), index: 0 }, userId: 'u0', userSeq })
  for (let userSeq = 1; userSeq <= 4; userSeq++) {
    group.gave(line(userSeq))
    group.ackedUpTo(line(userSeq))
    world.nowUs += 20_000_000
  }
  group.gave(line(3))
  t.strictSame(group.complaints, [], 'acked 40 s ago: it may have been on its way')
  group.gave(line(2))
  t.strictSame(group.complaints, ['a group was given uplink 2 of u0 long after it had acked it'])
})

t.test('A webhook lacks what it has not settled, and what is not on record as given up', async t => {
  const world = new World()
  const receiver = new Receiver(world, new Network(world), { address: '10.3.0.5', batch: 1, mayStop: false, isReady: () => true })
  receiver.settled.set('u0', new Set([1, 3]))
  const last = new Map([['u0', 3]])
  t.equal(receiver.lacks(last), 'a webhook has not got uplink 2 of u0, of 3')
  t.equal(receiver.lacks(last, new Set(['u1 2'])), 'a webhook has not got uplink 2 of u0, of 3')
  t.equal(receiver.lacks(last, new Set(['u0 2'])), undefined)
})

t.test('Nodes of some roles each leave no role to nobody', async t => {
  const shapes = new Set<string>()
  for (let seed = 0; seed < 300; seed++) {
    const nodes = layout(new Random(seed), 1 + seed % 7)
    t.equal(nodes.length, 1 + seed % 7)
    for (const role of roles) {
      t.ok(nodes.filter(own => own.includes(role)).length >= Math.min(2, nodes.length), `${seed}: ${role}`)
    }
    t.ok(nodes.every(own => own.length > 0 && new Set(own).size === own.length))
    shapes.add(nodes.map(own => own.length).join())
  }
  t.ok(shapes.size > 30, 'in many ways')
})

t.test('States as the version before saved them fold on as if nothing had been in between', async t => {
  const more = { takesOver: false } // of which that version knew nothing
  const state = given(
    opened('c1', more), uplink('c1', 1), requested('m1'), requested('m2'), opened('c2', { ...more, deviceId: 'pad' }))
  const snapshots = new SnapshotStore()
  const { head, parts } = savedStateOf(state)
  const present = savedStateOf(given(opened('c1', { ...more, presence: true })))
  for (let i = 0; i < 20; i++) {
    for (const [name, saved] of [['u', { head, parts }], ['present', present]] as const) {
      const own = { head: Buffer.from(saved.head), parts: new Map(saved.parts) as Map<string, Buffer>, version: 0n }
      snapshots.of(0).users.set(`${name}${i}`, own)
    }
  }
  const generation = snapshots.of(0).generation
  saveAsBefore(snapshots, new Random(1))
  t.not(snapshots.of(0).generation, generation, 'whoever has read them hears of it')
  const saved = [...snapshots.of(0).users]
  const whole = saved.filter(([, { parts }]) => parts.size === 0)
  t.ok(whole.length > 3 && whole.length < 15)
  t.ok(whole.every(([userId]) => userId.startsWith('u')), 'but those of which the stream presence tells')
  t.strictSame(comparable(stateOf(whole[0]![1])), comparable(stateOf({ head, parts })))
  const inParts = saved.filter(([userId, own]) => userId.startsWith('u') && own.parts.size > 0 && !own.head.equals(head))
  t.ok(inParts.length > 3, 'some are in parts as the version before wrote them')
  t.strictSame(comparable(stateOf(inParts[0]![1])), comparable(stateOf({ head, parts })))
  const those = saved.filter(([userId]) => userId.startsWith('present')).map(([, own]) => own)
  for (const own of those) t.strictSame(comparable(stateOf(own)), comparable(stateOf(present)))
  t.ok(those.every(own => own.head.equals(present.head)), 'but for what that version had no word for')
  t.ok(those.some(own => [...own.parts].some(([id, part]) => !part.equals(present.parts.get(id)!))))
})

t.test('What was promised is seen to be broken', async t => {
  const device = (more: Partial<Device>): Device =>
    ({ name: 'u0/d0', options: { userId: 'u0' }, complaints: [], sent: new Map(), forbidden: new Set(), runs: [], ...more }) as unknown as Device
  const ran = (seen: string[], signals: string[] = [], connectionId = 'c1') =>
    device({
      runs: [{ seen, signals: signals.map(messageId => ({ messageId, connectionId })), missed: 0, skipped: [] }],
    })
  const queued = new Map([['u0', ['m1', 'm2', 'm3']]])
  const service = {
    complaints: [],
    queued,
    signalled: new Map([['u0', new Set(['s1'])]]),
    takenBack: new Map<string, Set<string>>(),
    broadcasts: new Set(['b1']),
  }
  const judged = (one: Device, redelivered: string[] = [], replies: string[] = []) => {
    const operator = { complaints: [] } as unknown as Operator
    return judge([one], service as unknown as Service, operator, [], new Set(redelivered), new Map([['u0', new Set(replies)]]))
  }

  t.strictSame(judged(ran(['m1', 'm2', 'm3'], ['s1'])), [])
  t.match(judged(ran(['m1', 'm3', 'm2'])), [/got m2 after m3/])
  t.strictSame(judged(ran(['m1', 'm3', 'm2']), ['m2']), [], 'but what was asked for again comes late')
  t.match(judged(ran(['m1', 'm2', 'm1'])), [/got m1 twice/])
  t.match(judged(ran(['m1', 'm2', 'm1']), ['m1']), [/got m1 twice/])
  t.match(judged(ran([], ['s1', 's1', 's2'])), [/signal s1 twice/, /signal s2, which nobody/])
  t.strictSame(judged(ran(['m1', 'r1', 'm2']), [], ['r1']), [], 'an answer to a webhook comes anywhere')
  t.match(judged(ran(['r1', 'm1', 'r1']), [], ['r1']), [/got r1 twice/])
  t.match(judged(ran(['r1'])), [/got r1, which nobody/])
  t.match(judged(ran([], ['b1', 'b1'])), [/signal b1 twice/])
  t.strictSame(judged(device({ runs: [...ran([], ['b1']).runs, ...ran([], ['b1'], 'c2').runs] })), [],
    'a signal to everybody may come on another connection once more')
  service.takenBack.set('u0', new Set(['m2']))
  t.match(judged(ran(['m1', 'm2'])), [/got m2, of which was said that no device gets it/])
  t.strictSame(judged(ran(['m1', 'm2']), ['m2']), [], 'but what was asked for again')
  const consumer = (seen: number, holes = 0) =>
    ({ seen: new Map([['u0', seen]]), holes, options: { of: uplinksRead } }) as unknown as Consumer
  const last = new Map([['u0', 2]])
  t.match(unread(consumer(1), last), /uplinks has read 1 of u0, and not 2/)
  t.equal(unread(consumer(2), last), undefined)
  t.equal(unread(consumer(1, 1), last), undefined, 'but for holes that it was told of')
})

t.test('Who signs out has nothing waiting for him when he signs in again', async t => {
  const facts = (...facts: Array<Pick<Fact, 'type'> & Record<string, unknown>>): EventLog => ({
    partitions: () => 1,
    bounds: async () => ({ first: 0n, next: 1n }),
    async * read () { yield { items: facts.map(fact => ({ userId: 'u0', fact })) } },
  }) as unknown as EventLog
  const openedOn = (connectionId: string) => ({ type: 'ConnectionOpened' as const, connectionId, deviceId: 'd0' })
  const ended = (connectionId: string, endSession = true, told = true) =>
    ({ type: 'ConnectionClosed' as const, connectionId, endSession, told })
  const asked = (messageId: string) => ({ type: 'DownlinkRequested' as const, messageId })
  const device = (...seen: string[][]): Device => ({
    name: 'u0/d0',
    options: { userId: 'u0', deviceId: 'd0' },
    signOuts: [{ connectionId: 'c1', runs: 1 }],
    runs: seen.map(seen => ({ seen })),
  }) as unknown as Device
  const judged = async (log: EventLog, one: Device, ...redelivered: string[]): Promise<string[]> =>
    [...signOutFaults(await readEndedSessions(log), [one], new Set(redelivered))]

  const log = facts(openedOn('c1'), asked('m1'), ended('c1'), asked('m2'), openedOn('c2'))
  t.strictSame(await judged(log, device(['m1'], ['m2'])), [])
  t.strictSame(await judged(log, device([], ['m1', 'm2'])), ['u0/d0 got m1, from before it signed out'])
  t.strictSame(await judged(log, device([], ['m1']), 'm1'), [], 'but what was asked for again')
  const late = facts(openedOn('c1'), asked('m1'), openedOn('c2'), ended('c1'))
  t.strictSame(await judged(late, device([], ['m1'])), [], 'nor where another connection had the session by then')
  const early = facts(openedOn('c1'), asked('m1'), ended('c1', true, false))
  t.strictSame(await judged(early, device([], ['m1'])), [], 'nor where it had not heard of its session')
  const lost = facts(openedOn('c1'), asked('m1'), ended('c1', false), ended('c1'))
  t.strictSame(await judged(lost, device([], ['m1'])), [], 'nor where the ledger had another end before')
  t.strictSame(await judged(facts(openedOn('c9'), ended('c9')), { ...device([]), signOuts: [] } as unknown as Device),
    ['a session of u0/d0 was ended, and nobody has signed out'])
})

t.test('What nobody but business can read of a token, business can', async t => {
  const token = { userId: 'u0', tokenId: 'u0/d0 1', expiresAtMs: 1_000 }
  t.strictSame(readOpaque(opaqueOf(token)), token)
  t.equal(readOpaque(opaqueOf({ ...token, expiresAtMs: Infinity })).expiresAtMs, Infinity)
  t.notMatch(opaqueOf(token), /\./, 'it is no JWT')
  t.match(jwtOf(token, 'secret'), /^[\w-]+\.[\w-]+\.[\w-]+$/)
})
