import t, { type Test } from 'tap'
import { Partition } from '../../actors/partition.js'
import { type Snapshots, SnapshotsLost } from '../../actors/snapshots.js'
import type { UserTypes } from '../../actors/user/actor.js'
import { StoppedActors } from '../../actors/stopped-actors.js'
import { startOwner } from '../../actors/owner.js'
import { partsOf, stateOf } from '../../actors/user/parts.js'
import type { EventLog } from '../../ledger/log.js'
import type { Entry } from '../../schemas/facts.js'
import { GatewayError } from '../../schemas/errors.js'
import { ledger, uplinks } from '../../schemas/streams.js'
import { headCodec } from '../../schemas/user-state.js'
import { given, type Given, inShort, limits, of, poison, published, tampered, until } from './given.js'
import { closed, kicked, opened, requested, uplink } from './user/history.js'

t.test('A partition', async t => {
  t.test('publishes what its users accept, and saves them when it is given back', async t => {
    const world = await given(t, t.testdir())
    const users = await startOwner(world.log, world.deps)
    await append(world, of('ann', opened('a1'), uplink('a1', 1)), of('bob', opened('b1'), uplink('b1', 1)))
    await append(world, of('ann', uplink('a1', 2)))
    await users.stop()
    t.strictSame(await published(world.log), ['ann 1=1', 'bob 1=1', 'ann 2=2'])
    t.equal(await world.snapshots.checkpoint(0), (await world.log.bounds(ledger, 0)).next)
    t.equal(stateOf((await world.snapshots.load(0, 'ann', partsOf))!).userSeq, 2)
    t.strictSame(world.failures, [])
  })
  t.test('goes on from its checkpoint in the next process', async t => {
    const directory = t.testdir()
    const first = await given(t, directory)
    const users = await startOwner(first.log, first.deps)
    await append(first, of('ann', opened('a1'), uplink('a1', 1), requested('m1')))
    await users.stop()
    const second = await reopened(t, first, directory)
    const later = await startOwner(second.log, second.deps)
    await append(second, of('ann', uplink('a1', 1), uplink('a1', 2), opened('a2')))
    await until(() => second.sent.length >= 4)
    await later.stop()
    t.strictSame(second.sent, ['ack a1 2=1,2', 'close a1 superseded', 'welcome a2 up 2 down 0..1', 'deliver a2 1 m1'])
    t.strictSame(await published(second.log), ['ann 1=1', 'ann 2=2'])
  })
})

/** A partition whose user ann stops when she is asked something. */
async function stoppingAtQuestions (t: Test) {
  const world = await given(t, t.testdir())
  const deps: Given['deps'] = {
    ...stopping(world, () => false),
    links: { ...world.deps.links, toAsker: () => { throw new Error('a defect') } },
  }
  let lost = 0
  const partition = await Partition.open(0, deps, new StoppedActors(), () => { lost++ })
  t.teardown(() => partition.revoke())
  const ask = () => {
    partition.ask({
      type: 'askRequest', userId: 'ann', partition: 0, nodeId: 'n1', askId: 1, asOf: 0n, messageId: 'm1', content: 1,
    })
  }
  return { world, partition, ask, lost: () => lost }
}

/** What `world` has, but the actor of whoever `stops` says stops at a message for one of his connections. */
function stopping (world: Given, stops: (message: string) => boolean): typeof world.deps {
  return {
    ...world.deps,
    links: {
      ...world.deps.links,
      toConnection (message) {
        if (stops(inShort(message))) throw new Error('a defect')
        world.deps.links.toConnection(message)
      },
    },
    failed (what, error, fields) {
      world.deps.failed(what, error, fields)
      if (what === 'user actor crashed') throw new Error('a second one')
    },
  }
}

t.test('A user actor that stops', async t => {
  t.test('has its partition assigned again: his next one would go on from what is saved', async t => {
    const world = await given(t, t.testdir())
    let stops = true
    const deps = stopping(world, message => {
      if (message !== 'ack a1 3=3' || !stops) return false
      stops = false
      return true
    })
    const users = await startOwner(world.log, deps)
    await append(world, of('ann', opened('a1'), uplink('a1', 1)), of('bob', opened('b1'), uplink('b1', 1)))
    await until(async () => await world.snapshots.checkpoint(0) === 1n)
    await append(world, of('ann', uplink('a1', 2)))
    await until(() => world.sent.includes('ack a1 2=2'))
    await append(world, of('ann', uplink('a1', 3)), of('bob', uplink('b1', 2)))
    await append(world, of('ann', uplink('a1', 4)))
    await until(() => world.sent.includes('ack a1 4=4'))
    await users.stop()
    t.strictSame(world.failures, [
      'user actor crashed: a defect', 'user actor stopped: the partition is folded again: a second one',
    ])
    t.strictSame(new Set(await published(world.log)),
      new Set(['ann 1=1', 'bob 1=1', 'ann 2=2', 'ann 3=3', 'bob 2=2', 'ann 4=4']))
    t.equal(await world.snapshots.checkpoint(0), 4n)
    t.strictSame(world.usersAside, [])
  })

  t.test('again at the same place is set aside, and the others go on', async t => {
    const directory = t.testdir()
    const world = await given(t, directory)
    const users = await startOwner(world.log, stopping(world, message => message.startsWith('ack a1 2=')))
    await append(world, of('ann', opened('a1'), uplink('a1', 1)), of('bob', opened('b1')))
    await until(() => world.sent.includes('ack a1 1=1'))
    await append(world, of('ann', uplink('a1', 2)), of('bob', uplink('b1', 1)))
    await append(world, of('ann', uplink('a1', 3)), of('bob', uplink('b1', 2)))
    await until(() => world.usersAside.length > 0)
    await append(world, of('bob', uplink('b1', 3)))
    await until(() => world.sent.includes('ack b1 3=3'))
    await users.stop()
    t.equal(world.failures.filter(failure => failure.startsWith('user actor stopped')).length, 2)
    t.strictSame(world.usersAside, ['ann: a second one'])
    t.equal(await world.snapshots.checkpoint(0), 4n)

    const second = await reopened(t, world, directory)
    const later = await startOwner(second.log, second.deps)
    await append(second, of('ann', opened('a2')), of('bob', uplink('b1', 4)))
    await until(() => second.sent.includes('ack b1 4=4'))
    await later.stop()
    t.match(second.usersAside, [/ann: .*a second one/], 'by the next owner too')
    t.ok(second.sent.includes('close a2 internal'))
  })

  t.test('at a question ends the checkpoint that asks him for what to save', async t => {
    const { partition, lost, ask } = await stoppingAtQuestions(t)
    partition.received({ partition: 0, offset: 0n, items: of('ann', uplink('a1', 1)) })
    await until(() => partition.progress.folded === 1n)
    ask()
    await partition.checkpoint()
    t.equal(lost(), 1)
    partition.received({ partition: 0, offset: 1n, items: of('bob', uplink('b1', 1)) })
    await partition.checkpoint()
    t.equal(partition.progress.folded, 1n, 'what comes behind is for the next assignment')
    t.equal(partition.progress.saved, 0n)
    t.equal(lost(), 1)
  })

  t.test('at a question leaves nothing to the next checkpoint, which would not have what he has folded', async t => {
    const { world, partition, lost, ask } = await stoppingAtQuestions(t)
    const items = [...of('ann', opened('a1'), uplink('a1', 1)), ...of('bob', opened('b1'))]
    await append(world, items)
    partition.received({ partition: 0, offset: 0n, items })
    await until(() => partition.progress.published === 1n)
    ask()
    await until(() => lost() === 1)
    await partition.checkpoint()
    t.equal(await world.snapshots.checkpoint(0), 0n)
  })
})

t.test('A crash', async t => {
  for (const [what, keep] of [['before any checkpoint', 0], ['after an older checkpoint', 1]] as const) {
    t.test(`${what} publishes nothing twice and loses nothing`, async t => {
      const directory = t.testdir()
      const first = await given(t, directory)
      const frozen = freezable(first.snapshots)
      const users = await startOwner(first.log, { ...first.deps, snapshots: frozen })
      await append(first, of('ann', opened('a1'), uplink('a1', 1), requested('m1')), of('bob', opened('b1')))
      if (keep > 0) await until(async () => await first.snapshots.checkpoint(0) > 0n)
      frozen.freeze()
      await append(first, of('ann', uplink('a1', 2)), of('bob', uplink('b1', 1)))
      await until(async () => (await published(first.log)).length === 3)
      await append(first, of('ann', uplink('a1', 3)))
      await users.stop()
      t.equal(await first.snapshots.checkpoint(0) > 0n, keep > 0)

      const second = await reopened(t, first, directory)
      const later = await startOwner(second.log, second.deps)
      await append(second, of('ann', uplink('a1', 3), uplink('a1', 4)), of('bob', uplink('b1', 1), uplink('b1', 2)))
      await later.stop()
      const found = await published(second.log)
      t.strictSame(found.filter(line => line.startsWith('ann')), ['ann 1=1', 'ann 2=2', 'ann 3=3', 'ann 4=4'])
      t.strictSame(found.filter(line => line.startsWith('bob')), ['bob 1=1', 'bob 2=2'])
      t.ok(second.sent.includes('ack a1 4=3,4'))
    })
  }
})

t.test('A poison entry', async t => {
  t.test('is set aside with its position, and its user and the others go on', async t => {
    const world = await given(t, t.testdir())
    const bad = poison('a1', 2)
    const log = tampered(world.log, ({ fact }) =>
      fact.type === 'UplinkReceived' && Buffer.from(fact.payload).toString() === 'u99' ? bad : undefined)
    const users = await startOwner(log, { ...world.deps, log })
    await append(world, of('ann', opened('a1'), uplink('a1', 1)), of('bob', opened('b1')))
    await append(world, of('ann', uplink('a1', 99), uplink('a1', 2)), of('bob', uplink('b1', 1)))
    await append(world, of('ann', uplink('a1', 3)))
    await users.stop()
    t.match(world.setAside, [{ userId: 'ann', offset: 1n, message: 'poison' }])
    t.equal(world.setAside.length, 1)
    const found = await published(world.log)
    t.strictSame(found.filter(line => line.startsWith('ann')), ['ann 1=1', 'ann 2=2', 'ann 3=3'])
    t.strictSame(found.filter(line => line.startsWith('bob')), ['bob 1=1'])
    t.equal(await world.snapshots.checkpoint(0), 3n)
  })
})

t.test('A checkpoint', async t => {
  t.test('waits until the uplinks before it are published', async t => {
    const world = await given(t, t.testdir())
    const gate = new Gate(world.log)
    const partition = await followed({ ...world, log: gate.log }, 0)
    await append(world, of('ann', opened('a1'), uplink('a1', 1)))
    await until(() => world.sent.length === 2)
    let saved = false
    const saving = partition.checkpoint().then(() => { saved = true })
    await until(() => gate.waiting > 0)
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
    t.notOk(saved)
    t.equal(await world.snapshots.checkpoint(0), 0n)
    gate.open()
    await saving
    t.equal(await world.snapshots.checkpoint(0), 1n)
    t.strictSame(await published(world.log), ['ann 1=1'])
  })
  t.test('that is not stored yet keeps its users in memory, for the store has them as they were before', async t => {
    const world = await given(t, t.testdir())
    const gate = new Gate(world.log)
    const partition = await followed({ ...world, log: gate.log }, 0)
    await append(world, of('ann', opened('a1'), uplink('a1', 1)))
    await until(() => world.sent.length === 2)
    const saving = partition.checkpoint()
    await until(() => gate.waiting > 0)
    partition.passivateIdle(Date.now() + 3_600_000)
    t.equal(partition.active, 1)
    await append(world, of('ann', uplink('a1', 2)))
    await until(() => world.sent.length === 3)
    t.equal(world.sent[2], 'ack a1 2=2')
    gate.open()
    await saving
    await partition.checkpoint()
    partition.passivateIdle(Date.now() + 3_600_000)
    t.equal(partition.active, 0, 'and lets them go afterwards')
  })
  t.test('is due after so many entries', async t => {
    const world = await given(t, t.testdir())
    await followed(world, 0, { checkpointEntries: 3 })
    await append(world, of('ann', opened('a1'), uplink('a1', 1)))
    await append(world, of('ann', uplink('a1', 2)))
    await until(async () => await world.snapshots.checkpoint(0) === 2n)
    t.pass()
  })
  t.test('is taken by the next one where a user had no state to give', async t => {
    const world = await given(t, t.testdir())
    let broken = true
    const links = {
      ...world.deps.links,
      toConnection () { if (broken) throw new Error('a defect') },
    }
    const partition = await followed({ ...world, deps: { ...world.deps, links } }, 0)
    await append(world, of('ann', opened('a1')))
    await until(() => world.failures.length > 0)
    broken = false
    await partition.checkpoint()
    t.equal(await world.snapshots.checkpoint(0), 1n)
  })
})

t.test('Uplinks that can not be published', async t => {
  t.test('are tried again until they are, in order and once', async t => {
    const world = await given(t, t.testdir())
    const gate = new Gate(world.log)
    gate.failures = 2
    gate.open()
    await followed({ ...world, log: gate.log }, 0)
    await append(world, of('ann', opened('a1'), uplink('a1', 1)))
    await append(world, of('ann', uplink('a1', 2)))
    await until(async () => (await published(world.log)).length === 2)
    t.strictSame(await published(world.log), ['ann 1=1', 'ann 2=2'])
    t.ok(gate.failures <= 0, 'both were tried')
    t.strictSame(world.failures, [], 'a condition tells of it, not a line for each attempt')
  })
  t.test('keep a partition from being given back only so long, and the next owner publishes them', async t => {
    const directory = t.testdir()
    const world = await given(t, directory)
    const gate = new Gate(world.log)
    gate.failures = Infinity
    gate.open()
    const partition = await followed({ ...world, log: gate.log }, 0, { revokeMs: 50 })
    await append(world, of('ann', opened('a1'), uplink('a1', 1)))
    await until(() => /can not be published/.test(partition.progress.lastError))
    await partition.revoke()
    t.match(world.failures.at(-1), /given back unsaved/)
    t.equal(await world.snapshots.checkpoint(0), 0n)
    const next = await startOwner(world.log, world.deps)
    await next.stop()
    t.strictSame(await published(world.log), ['ann 1=1'])
  })
})

t.test('An idle user', async t => {
  t.test('is passivated once it is saved, and comes back where it was', async t => {
    const world = await given(t, t.testdir())
    const partition = await followed(world, 0)
    const later = Date.now() + 60_000
    await append(world, of('ann', opened('a1'), uplink('a1', 1)), of('bob', opened('b1')))
    await until(() => world.sent.length === 3)
    partition.passivateIdle(later)
    t.equal(partition.active, 2, 'not before it is saved')
    await partition.checkpoint()
    partition.passivateIdle(Date.now())
    t.equal(partition.active, 2, 'nor while something just happened to it')
    partition.passivateIdle(later)
    t.equal(partition.active, 0)
    await append(world, of('ann', uplink('a1', 2)))
    await until(() => world.sent.at(-1) === 'ack a1 2=2')
    t.equal(partition.active, 1)
  })
  t.test('is woken by a question', async t => {
    const world = await given(t, t.testdir())
    const partition = await followed(world, 0)
    await append(world, of('ann', opened('a1'), uplink('a1', 1)))
    await until(() => world.sent.length === 2)
    await partition.checkpoint()
    partition.passivateIdle(Date.now() + 60_000)
    partition.ask({
      type: 'resync',
      userId: 'ann',
      partition: 0,
      nodeId: 'n1',
      connectionId: 'a1',
      welcomed: true,
      uplinkSeq: 0,
      downlinkSeq: 0,
      bytesMax: 1,
    })
    await until(() => world.sent.length === 3)
    t.equal(world.sent[2], 'ack a1 1=1')
  })
})

for (const [what, bound] of [
  ['entries', { foldingMax: 2 }],
  ['bytes', { foldingBytesMax: 2 * ledger.bytesOf(of('ann', opened('a1'))[0]!) }],
] as const) {
  t.test(`More ${what} than may fold at once make the log wait until there is room again`, async t => {
    const world = await given(t, t.testdir())
    let release: (() => void) | undefined
    const released = new Promise<void>(resolve => { release = resolve })
    const snapshots: Snapshots = {
      ...world.snapshots,
      async load (partition, userId, partsOf) {
        if (userId !== '') await released
        return await world.snapshots.load(partition, userId, partsOf)
      },
    }
    const deps = { ...world.deps, snapshots, limits: { ...limits, ...bound } }
    const partition = await Partition.open(0, deps, new StoppedActors(), () => {})
    t.teardown(() => partition.revoke())
    const block = (offset: bigint, items: Entry[]) => ({ partition: 0, offset, items })
    t.equal(partition.received(block(0n, of('ann', opened('a1'), uplink('a1', 1)))), undefined, 'up to the bound it does not')
    const large = { ...uplink('a1', 2), payload: Buffer.alloc(1_000) } as Entry['fact']
    const wait = partition.received(block(1n, of('ann', large)))
    t.ok(wait instanceof Promise)
    let resumed = false
    const resuming = (wait as Promise<void>).then(() => { resumed = true })
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
    t.notOk(resumed)
    release!()
    await resuming
    await until(() => world.sent.length === 3)
    t.strictSame(world.sent, ['welcome a1 up 0 down 0..0', 'ack a1 1=1', 'ack a1 2=2'])
  })
}

t.test('More bytes of uplinks than may wait for their stream make the log wait', async t => {
  const world = await given(t, t.testdir())
  const gate = new Gate(world.log)
  const deps = { ...world.deps, log: gate.log, limits: { ...limits, unpublishedBytesMax: 5_000 } }
  const partition = await Partition.open(0, deps, new StoppedActors(), () => {})
  t.teardown(() => partition.revoke())
  const large = (seq: number) => of('ann', { ...uplink('a1', seq), payload: Buffer.alloc(3_000) } as Entry['fact'])
  t.equal(partition.received({ partition: 0, offset: 0n, items: [...of('ann', opened('a1')), ...large(1)] }), undefined)
  await until(() => gate.waiting > 0)
  t.equal(partition.received({ partition: 0, offset: 1n, items: large(2) }), undefined, 'what folds is little')
  await until(() => world.sent.length === 3)
  const wait = partition.received({ partition: 0, offset: 2n, items: of('ann', uplink('a1', 3)) })
  t.ok(wait instanceof Promise)
  gate.open()
  await wait
  await until(async () => (await published(world.log)).length === 3)
})

t.test('A checkpoint of many users', async t => {
  const world = await given(t, t.testdir())
  const saves: Array<{ next: bigint, userSeqs: number[] }> = []
  const snapshots: Snapshots = {
    ...world.snapshots,
    async save (partition, next, changes) {
      saves.push({ next, userSeqs: Array.from(changes.values(), ({ head }) => headCodec.decode(head!).userSeq) })
      await world.snapshots.save(partition, next, changes)
    },
  }
  const partition = await Partition.open(0, { ...world.deps, snapshots }, new StoppedActors(), () => {})
  t.teardown(() => partition.revoke())
  const userIds = Array.from({ length: 300 }, (_, i) => `user${i}`)
  const all = (factsOf: (connectionId: string) => Entry['fact'][]) => {
    return userIds.flatMap(userId => of(userId, ...factsOf(`c-${userId}`)))
  }
  partition.received({ partition: 0, offset: 0n, items: all(id => [opened(id), uplink(id, 1)]) })
  await until(() => world.sent.length === 600)

  const saving = partition.checkpoint()
  partition.received({ partition: 0, offset: 1n, items: all(id => [uplink(id, 2)]) })
  await saving
  t.strictSame(saves, [{ next: 1n, userSeqs: userIds.map(() => 1) }], 'has them as they were when it began')
  await partition.checkpoint()
  t.strictSame(saves[1], { next: 2n, userSeqs: userIds.map(() => 2) }, 'and the next one as they are')
})

t.test('A store of snapshots that went back', async t => {
  t.test('has its partition assigned again, and nobody begins anew', async t => {
    const world = await given(t, t.testdir())
    const fragile = losable(world.snapshots)
    const users = await startOwner(world.log, { ...world.deps, snapshots: fragile.snapshots })
    t.teardown(() => users.stop())
    await append(world, of('ann', opened('a1'), uplink('a1', 1)), of('bob', opened('b1'), uplink('b1', 1)))
    await until(() => world.sent.length === 4)
    fragile.lose()
    await append(world, of('cleo', opened('c1'), uplink('c1', 1)), of('ann', uplink('a1', 2)))
    await until(() => world.sent.filter(message => message === 'ack a1 2=2').length > 0)
    await until(() => world.sent.includes('ack c1 1=1'))
    t.match(world.failures, [/snapshots are lost/])
    // She is folded again from her beginning, beside the others.
    await until(() => world.sent.filter(message => /ack a1/.test(message)).at(-1) === 'ack a1 2=2')
    await until(async () => (await published(world.log)).length === 4)
    t.strictSame((await published(world.log)).toSorted(), ['ann 1=1', 'ann 2=2', 'bob 1=1', 'cleo 1=1'])
  })
})

t.test('History', async t => {
  t.test('is folded and published, but sends no acks and downlinks of long ago', async t => {
    const world = await given(t, t.testdir(), { limits: { ...limits, historyAgeMs: 60_000 } })
    await append(world, of('ann', opened('a1'), uplink('a1', 1), opened('a2', { deviceId: opened('a1').deviceId })))
    const users = await startOwner(world.log, world.deps)
    t.teardown(() => users.stop())
    await until(async () => (await published(world.log)).length === 1)
    t.strictSame(world.sent, ['close a1 superseded'], 'a close nobody would ask for')
  })

  t.test('is only what was there when the partition came: a node whose clock is slow gets its answers', async t => {
    const world = await given(t, t.testdir(), { limits: { ...limits, historyAgeMs: 60_000 } })
    const users = await startOwner(world.log, world.deps)
    t.teardown(() => users.stop())
    await append(world, of('ann', opened('a1'), uplink('a1', 1)))
    await until(() => world.sent.includes('ack a1 1=1'))
  })
})

t.test('A close', async t => {
  t.test('is told again until the ledger says that the connection has ended', async t => {
    const world = await given(t, t.testdir())
    const partition = await followed(world, 0)
    const { deviceId } = opened('a1')
    await append(world, of('ann', opened('a1'), opened('a2', { deviceId })))
    const closes = () => world.sent.filter(message => message === 'close a1 superseded').length
    await until(() => closes() === 1)
    partition.sweep(Date.now() + 500)
    t.equal(closes(), 1, 'not at once')
    partition.sweep(Date.now() + 1_500)
    partition.sweep(Date.now() + 3_000)
    t.equal(closes(), 3)
    await append(world, of('ann', closed('a1')))
    await until(async () => (await world.log.bounds(ledger, 0)).next === 2n)
    partition.sweep(Date.now() + 10_000)
    t.equal(closes(), 3)
  })
})

t.test('A close that was not told', async t => {
  for (const [what, ending] of [
    ['of a kick', kicked('k1', 'a1')],
    ['of a connection that was superseded', opened('a2')],
    ['of a connection under the login policy', opened('a2', { deviceId: 'pad', loginPolicy: 'user' })],
    ['of a connection that claims too much', opened('a0', { downlinkSeq: 7 })],
  ] as const) {
    t.test(`${what} is told by the next owner, who folds nothing of it again`, async t => {
      const directory = t.testdir()
      const first = await given(t, directory)
      const users = await startOwner(first.log, first.deps)
      await append(first, of('ann', opened('a1'), ending))
      await until(() => first.sent.some(message => message.startsWith('close')))
      const close = first.sent.find(message => message.startsWith('close'))!
      await users.stop()
      t.equal(await first.snapshots.checkpoint(0), (await first.log.bounds(ledger, 0)).next)

      const second = await reopened(t, first, directory)
      const partition = await followed(second, 0)
      partition.sweep(Date.now())
      t.strictSame(second.sent, [close])
      await append(second, of('ann', closed(close.split(' ')[1]!)))
      await until(async () => (await second.snapshots.load(0, '', () => []))?.head.toString() === '{"closes":[]}' || await partition.checkpoint())
      const third = await Partition.open(0, second.deps, new StoppedActors(), () => {})
      third.sweep(Date.now())
      t.strictSame(second.sent, [close], 'and by nobody once the connection has ended')
    })
  }
  t.test('is the answer to a connection that asks for what it has missed', async t => {
    const world = await given(t, t.testdir())
    const partition = await followed(world, 0)
    await append(world, of('ann', opened('a1'), kicked('k1', 'a1')))
    await until(() => world.sent.includes('close a1 kicked'))
    partition.ask({
      type: 'resync', userId: 'ann', partition: 0, nodeId: 'n1', connectionId: 'a1', welcomed: true, uplinkSeq: 0, downlinkSeq: 0, bytesMax: 1,
    })
    await until(() => world.sent.filter(message => message === 'close a1 kicked').length === 2)
  })
})

/** Snapshots that lose everything, and say so as their port wants it. */
function losable (snapshots: Snapshots): { snapshots: Snapshots, lose (): void } {
  let lost = false
  let empty = false
  const refuse = async () => { throw new SnapshotsLost('the store went back') }
  return {
    lose: () => { lost = true },
    snapshots: {
      async checkpoint (partition) {
        if (!lost) return await snapshots.checkpoint(partition)
        lost = false
        empty = true
        return 0n
      },
      parts: (...args) => snapshots.parts(...args),
      load: async (...args) => lost ? await refuse() as never : empty ? undefined : await snapshots.load(...args),
      save: async (...args) => lost ? await refuse() as never : empty ? undefined : await snapshots.save(...args),
    },
  }
}

async function append ({ log }: Given, ...entries: Entry[][]): Promise<void> {
  await log.append(ledger, 0, entries.flat())
}

/** A second process on the same directory. */
async function reopened (t: Parameters<typeof given>[0], first: Given, directory: string): Promise<Given> {
  await first.close()
  return await given(t, directory)
}

/** One partition that follows the log, and what the users role would do with it left to the test. */
async function followed (
  { log, deps }: Given, number: number, changed: Partial<typeof limits> = {}
): Promise<Partition<UserTypes>> {
  const changedDeps = { ...deps, log, limits: { ...limits, ...changed } }
  const partition = await Partition.open(number, changedDeps, new StoppedActors(), () => {})
  const follower = {
    assigned: async () => partition.next,
    received: (block: any) => partition.received(block),
    revoked: () => partition.revoke(),
  }
  await log.follow(ledger, 'test', follower)
  return partition
}

/** Snapshots that a process about to crash does not get to write any more. */
function freezable (snapshots: Snapshots): Snapshots & { freeze (): void } {
  let frozen = false
  return {
    freeze () { frozen = true },
    ...snapshots,
    async save (...args) { if (!frozen) await snapshots.save(...args) },
  }
}

/** A log whose `uplinks` wait, or fail, before they are appended. */
class Gate {
  readonly log: EventLog
  waiting = 0
  failures = 0
  #open!: () => void
  readonly #opened = new Promise<void>(resolve => { this.#open = resolve })

  constructor (log: EventLog) {
    this.log = {
      ...tampered(log, () => undefined),
      append: async (stream, ...args) => {
        if (stream.name === uplinks.name) {
          this.waiting++
          await this.#opened
          if (this.failures-- > 0) throw new GatewayError('ledger-unavailable')
        }
        return await log.append(stream, ...args)
      },
    }
  }

  open (): void { this.#open() }
}
