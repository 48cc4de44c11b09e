import avsc from 'avsc'
import t, { type Test } from 'tap'
import { clusterSnapshots } from '../../actors/snapshots-cluster.js'
import { redisSnapshots } from '../../actors/snapshots-redis.js'
import type { RebuildableSnapshots } from '../../actors/snapshots.js'
import { partsOf, payloadParts, stateOf } from '../../actors/user/parts.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { loadSchema } from '../../schemas/avsc-files.js'
import { fingerprintOf, headerBytes, writeHeader } from '../../schemas/single-object.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { connectedRedis, redisMissing, startRedis } from '../cluster/redis.js'
import { noteStream } from '../ledger/log-contract.js'
import { change, found, headOf, snapshotsContract, states } from './snapshots-contract.js'

/** As the version before parts wrote it, of a user for whom these wait. */
function wholeState (payloads: readonly Buffer[]): Buffer {
  const schema = loadSchema('history/user-state-1')
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(schema), header, 0)
  const waiting = payloads.map((payload, i) => ({
    messageId: `m${i}`, service: '', payload, requestedAtMs: 1, expiresAtMs: 2, platforms: [], exceptDevices: [],
  }))
  const state = { offset: 7, userSeq: 3, sessionsBegun: 0, sessions: [], connections: [], requests: [], waiting }
  return Buffer.concat([header, avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true }).toBuffer(state)])
}

const missing = kafkaMissing() ?? redisMissing()
if (missing) {
  t.plan(0, missing)
} else {
  await all(t)
}

interface Place { readonly prefix: string, readonly identity: string }

async function all (t: Test) {
  const [{ brokers }, { url }] = await Promise.all([startKafka(t), startRedis(t)])
  const redis = await connectedRedis(t, url)
  const lost = { name: 'SnapshotsLost' }
  const made = new Map<RebuildableSnapshots, Place>()
  let prefixes = 0

  async function open (t: Test, more: Partial<Place> = {}) {
    const place = { prefix: `c${++prefixes}`, identity: 'a log', ...more }
    const { prefix, identity } = place
    const stream = noteStream()
    const kafka = await openKafkaLog({
      brokers,
      topicPrefix: prefix,
      clientId: 'one',
      streams: [{ stream, partitions: 8 }],
      changelogs: [{ name: 'states', like: stream }],
      topics: { messageBytesMax: 200_000 },
      failed: () => {},
    })
    const snapshots = clusterSnapshots({
      changelog: kafka.changelog('states'),
      copy: redisSnapshots(redis, { prefix, identity, retryMs: 5 }),
      identity,
      retryMs: 5,
    })
    t.teardown(async () => {
      snapshots.close()
      await kafka.close()
    })
    made.set(snapshots, place)
    return snapshots
  }

  snapshotsContract(t, 'at home in Kafka, with a copy in Redis', {
    open,
    reopen: (t, snapshots) => open(t, made.get(snapshots)!),
  })

  t.test('a Redis that has lost everything', async t => {
    const snapshots = await open(t)
    await snapshots.checkpoint(0)
    await snapshots.save(0, 10n, new Map([
      ['ada', change('a10 m1 m2', { added: { m1: 'one', m2: 'two' } })],
      ['bob', change('b10 m1', { added: { m1: 'his' } })],
    ]))
    await snapshots.save(0, 20n, new Map([['ada', change('a20 m2', { changed: { m2: 'too' }, gone: ['m1'] })]]))
    await redis.call('FLUSHALL')
    await t.rejects(headOf(snapshots, 0, 'ada'), lost, 'is noticed')
    t.equal(await snapshots.checkpoint(0), 20n, 'is filled when the partition is assigned again')
    t.strictSame(await found(snapshots, 0, 'ada'), ['a20 m2', { m2: 'too' }])
    t.strictSame(await found(snapshots, 0, 'bob'), ['b10 m1', { m1: 'his' }])
    await snapshots.save(0, 30n, states(['eve', 'e30']))
    t.equal(await (await open(t, made.get(snapshots)!)).checkpoint(0), 30n)
  })

  t.test('a Redis that has gone back, as a replica does that takes over', async t => {
    const snapshots = await open(t)
    await snapshots.save(0, 10n, states(['ada', 'a10'], ['eve', 'e10']))
    const key = `{${made.get(snapshots)!.prefix}.0}:states`
    const copy = await redis.dumpBuffer(key)
    await snapshots.save(0, 20n, states(['ada', 'a20'], ['bob', 'b20']))
    await redis.restore(key, 0, copy, 'REPLACE')
    await t.rejects(snapshots.save(0, 30n, states(['ada', 'a30'])), lost, 'is noticed')
    t.equal(await snapshots.checkpoint(0), 30n, 'is filled with what was on its way, too')
    t.equal(await headOf(snapshots, 0, 'ada'), 'a30')
    t.equal(await headOf(snapshots, 0, 'bob'), 'b20')
    t.equal(await headOf(snapshots, 0, 'eve'), 'e10')
  })

  t.test('an owner whose successor has begun', async t => {
    const old = await open(t)
    await old.save(0, 10n, states(['ada', 'a10']))
    const successor = await open(t, made.get(old)!)
    t.equal(await successor.checkpoint(0), 10n)
    await t.rejects(old.save(0, 20n, states(['ada', 'old'])), lost, 'saves nothing')
    await successor.save(0, 15n, states(['ada', 'a15']))
    t.equal(await headOf(successor, 0, 'ada'), 'a15')
  })

  t.test('states that Redis has from a version that had no other home', async t => {
    const prefix = 'older'
    const before = redisSnapshots(redis, { prefix, identity: 'a log' })
    await before.save(1, 10n, new Map([['ada', change('a10 m1', { added: { m1: 'one' } })]]))
    before.close()
    const snapshots = await open(t, { prefix })
    t.equal(await snapshots.checkpoint(1), 10n)
    await redis.call('FLUSHALL')
    t.equal(await snapshots.checkpoint(1), 10n, 'have one from then on')
    t.strictSame(await found(snapshots, 1, 'ada'), ['a10 m1', { m1: 'one' }])
  })

  t.test('a state that an older version saved whole and that no record has room for', async t => {
    const prefix = 'whole'
    const identity = 'a log'
    const before = redisSnapshots(redis, { prefix, identity })
    const whole = wholeState(Array.from({ length: 40 }, (_, i) => Buffer.alloc(10_000, i)))
    t.ok(whole.length > 400_000)
    await before.save(1, 10n, new Map([['ada', { head: whole, added: new Map(), changed: new Map(), gone: [] }]]))
    await before.save(1, 11n, states(['bob', 'b11']))
    before.close()
    const snapshots = await open(t, { prefix })
    t.equal(await snapshots.checkpoint(1), 11n, 'does not keep its partition from being copied')
    await redis.call('FLUSHALL')
    t.equal(await snapshots.checkpoint(1), 11n)
    t.equal(await headOf(snapshots, 1, 'bob'), 'b11')
    const loaded = await snapshots.load(1, 'ada', partsOf)
    const state = stateOf(loaded!)
    t.equal(state.userSeq, 3)
    const payloads = await snapshots.parts(1, 'ada', payloadParts(state))
    t.strictSame([...payloads.values()].map(payload => payload[0]).sort((a, b) => a! - b!),
      Array.from({ length: 40 }, (_, i) => i), 'is there in parts, with all that waits in it')
  })

  t.test('states of a ledger that is gone', async t => {
    const foreign = await open(t, { identity: 'another log' })
    await foreign.save(0, 10n, states(['ada', 'theirs'], ['eve', 'theirs']))
    const snapshots = await open(t, { ...made.get(foreign)!, identity: 'a log' })
    t.equal(await snapshots.checkpoint(0), 0n, 'count as not there')
    await snapshots.save(0, 5n, states(['ada', 'ours']))
    await redis.call('FLUSHALL')
    t.equal(await snapshots.checkpoint(0), 5n)
    t.equal(await headOf(snapshots, 0, 'ada'), 'ours')
    t.equal(await headOf(snapshots, 0, 'eve'), undefined)
  })

  t.test('a Redis that loses its states while they are copied', async t => {
    const fields = (count: number) => Array.from({ length: count }, (_, i) =>
      ({ key: Buffer.from(`:user${i}`), value: Buffer.from(`\x0120:${'x'.repeat(100)}`) }))
    const copyOf = (prefix: string) => redisSnapshots(redis, { prefix, identity: 'a log', callBytesMax: 500 })
    async function * during (work: () => Promise<unknown>) {
      for (const [i, field] of fields(20).entries()) {
        if (i === 10) await work()
        yield field
      }
    }
    const changed = { code: 'not-ready' }

    await t.test('into it: what is left is not taken for all of it', async t => {
      const prefix = 'draft'
      const copy = copyOf(prefix)
      await t.rejects(copy.fill(0, 20n, during(async () => {
        for (const key of await redis.keys(`{${prefix}.0}:states:draft:*`)) await redis.unlink(key)
      })), changed)
      t.equal(await copy.checkpoint(0), 0n)
      await copy.fill(0, 20n, during(async () => {}))
      t.equal(await copy.checkpoint(0), 20n)
      t.equal((await redis.hkeys(`{${prefix}.0}:states`)).filter(key => key.startsWith(':user')).length, 20)
    })

    await t.test('into it, those that it had: they are not replaced unseen', async t => {
      const prefix = 'before'
      const copy = copyOf(prefix)
      await copy.save(0, 10n, states(['ada', 'a10']))
      await t.rejects(copy.fill(0, 20n, during(async () => await redis.unlink(`{${prefix}.0}:states`))), changed)
      t.equal(await copy.checkpoint(0), 0n)
    })

    await t.test('out of it: what was read is not taken for all of it', async t => {
      const prefix = 'source'
      const copy = copyOf(prefix)
      await copy.save(0, 10n, states(...Array.from({ length: 2_000 }, (_, i) => [`u${i}`, 'h'] as [string, string])))
      let read = 0
      await t.rejects(async () => {
        for await (const { value } of copy.fields(0)) {
          if (value && read++ === 100) await redis.unlink(`{${prefix}.0}:states`)
        }
      }, changed)
    })
  })
}
