import t from 'tap'
import type { PartId, Snapshots } from '../../actors/snapshots.js'
import { changesOf } from '../../actors/user/parts.js'
import { startOwner } from '../../actors/owner.js'
import type { EventLog } from '../../ledger/log.js'
import { GatewayError } from '../../schemas/errors.js'
import { ledger, uplinks } from '../../schemas/streams.js'
import { given, of, published, tampered, until } from './given.js'
import { given as state, opened, requested, uplink } from './user/history.js'

/** 1,024 bytes: a key of the local store takes 900. */
const tooLong = '😀'.repeat(256)

t.test('A user whose id is too long for a saved state', async t => {
  t.test('is set aside, and neither the partition nor the next process stands still', async t => {
    const directory = t.testdir()
    const first = await given(t, directory)
    const users = await startOwner(first.log, first.deps)
    await first.log.append(ledger, 0, [...of(tooLong, opened('x1'), uplink('x1', 1)), ...of('ann', opened('a1'), uplink('a1', 1))])
    await until(async () => await first.snapshots.checkpoint(0) === 1n)
    await users.stop()
    t.strictSame(first.sent.toSorted(), ['ack a1 1=1', 'close x1 internal', 'welcome a1 up 0 down 0..0'])
    t.strictSame(first.usersAside, [`${tooLong}: user id: got 1024 bytes, want at most 900`])
    t.strictSame(await published(first.log), ['ann 1=1'])
    await first.close()

    const second = await given(t, directory)
    const later = await startOwner(second.log, second.deps)
    await second.log.append(ledger, 0, [...of(tooLong, uplink('x1', 2)), ...of('ann', uplink('a1', 2))])
    await second.log.append(ledger, 0, of(tooLong, uplink('x1', 3)))
    await until(async () => await second.snapshots.checkpoint(0) === 3n)
    await later.stop()
    t.equal(second.usersAside.length, 1, 'once in the life of an owner')
    t.strictSame(await published(second.log), ['ann 1=1', 'ann 2=2'])
  })
})

t.test('A saved state that can not be read', async t => {
  t.test('sets its user aside, and the partition goes on', async t => {
    const world = await given(t, t.testdir())
    await world.snapshots.save(0, 0n, new Map([['ann', {
      head: Buffer.from('c30100', 'hex'), added: new Map(), changed: new Map(), gone: [],
    }]]))
    const users = await startOwner(world.log, world.deps)
    await world.log.append(ledger, 0, [...of('ann', opened('a1')), ...of('bob', opened('b1'), uplink('b1', 1))])
    await until(async () => await world.snapshots.checkpoint(0) === 1n)
    await users.stop()
    t.match(world.usersAside, [/^ann: /])
    t.strictSame(await published(world.log), ['bob 1=1'])
    t.equal((await world.snapshots.load(0, 'ann', () => []))!.head.toString('hex'), 'c30100', 'what is there is kept')
  })

  for (const [what, damage] of [
    ['cut off', part => part.subarray(0, 5)],
    ['missing', () => undefined],
  ] as ReadonlyArray<[string, (part: Buffer) => Buffer | undefined]>) {
    t.test(`sets its user aside where one part of it is ${what}, whichever it is`, async t => {
      const { head, added, changed } = changesOf(state(opened('a1'), requested('d1')))
      const ids = [...added.keys(), ...changed.keys()]
      t.ok(ids.length > 3)
      const without = (id: PartId, parts: ReadonlyMap<PartId, Uint8Array>) => {
        const part = parts.get(id)
        const now = part && damage(Buffer.from(part))
        return new Map([...parts].filter(([name]) => name !== id).concat(now ? [[id, now]] : []))
      }
      const world = await given(t, t.testdir())
      await world.snapshots.save(0, 0n, new Map(ids.map(id => {
        return [id, { head, added: without(id, added), changed: without(id, changed), gone: [] }]
      })))
      const users = await startOwner(world.log, world.deps)
      const facts = ids.flatMap(id => of(id, uplink('a1', 1)))
      await world.log.append(ledger, 0, [...facts, ...of('bob', opened('b1'), uplink('b1', 1))])
      await until(async () => await world.snapshots.checkpoint(0) === 1n)
      await users.stop()
      t.strictSame(world.usersAside.map(line => line.split(':')[0]).toSorted(), ids.toSorted())
      t.strictSame(await published(world.log), ['bob 1=1'])
      for (const id of ids) {
        t.strictSame((await world.snapshots.load(0, id, () => []))!.head, head, 'what is there is kept')
      }
    })
  }
})

t.test('An uplink that its stream will never take', async t => {
  t.test('is set aside, and those around it are published', async t => {
    const world = await given(t, t.testdir())
    const log: EventLog = {
      ...tampered(world.log, () => undefined),
      async append (stream, partition, items, options) {
        if (stream.name === uplinks.name && (items as any[]).some(({ seq, userId }) => userId === 'bob' && seq === 2)) {
          throw new GatewayError('payload-too-large', 'too large for the topic')
        }
        return await world.log.append(stream, partition, items, options)
      },
    }
    const users = await startOwner(log, { ...world.deps, log })
    const all = [...of('ann', opened('a1'), uplink('a1', 1)), ...of('bob', opened('b1'), uplink('b1', 1), uplink('b1', 2))]
    await world.log.append(ledger, 0, [...all, ...of('ann', uplink('a1', 2)), ...of('bob', uplink('b1', 3))])
    await until(async () => await world.snapshots.checkpoint(0) === 1n)
    await users.stop()
    t.strictSame(world.uplinksAside, ['bob 2: too large for the topic'])
    t.strictSame((await published(world.log)).toSorted(), ['ann 1=1', 'ann 2=2', 'bob 1=1', 'bob 3=3'])
    t.equal(await world.log.derivedFrom(uplinks, 0), 0n)
  })
})

t.test('How far a partition is', async t => {
  t.test('says what is waited for, and since when', async t => {
    const world = await given(t, t.testdir())
    let away = true
    const snapshots = {
      ...world.snapshots,
      load: async (...args: Parameters<Snapshots['load']>) => {
        if (away && args[1] !== '') throw new Error('the store is away')
        return await world.snapshots.load(...args)
      },
    }
    const users = await startOwner(world.log, { ...world.deps, snapshots })
    t.match(users.progress(), [{ partition: 0, received: 0n, folded: 0n, saved: 0n, foldingSinceMs: 0, lastError: '' }])
    await world.log.append(ledger, 0, of('ann', opened('a1')))
    await until(() => users.progress()[0]!.lastError !== '')
    t.match(users.progress(), [{ received: 1n, folded: 0n, lastError: 'states of users can not be loaded: the store is away' }])
    t.ok(users.progress()[0]!.foldingSinceMs > 0)
    t.strictSame(world.failures, [], 'no line for each attempt of each user')
    away = false
    await until(() => users.progress()[0]!.saved === 1n)
    t.match(users.progress(), [{
      received: 1n, folded: 1n, published: 1n, foldingSinceMs: 0, publishingSinceMs: 0, savingSinceMs: 0, lastError: '',
    }])
    await users.stop()
  })
})
