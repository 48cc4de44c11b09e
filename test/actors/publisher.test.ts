import t, { type Test } from 'tap'
import { Publisher } from '../../actors/publisher.js'
import { GatewayError } from '../../schemas/errors.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import { uplinks } from '../../schemas/streams.js'
import { until } from './given.js'

function accepted (userSeq: number, payloadBytes = 10): UplinkAccepted {
  return {
    userId: 'ann',
    userSeq,
    deviceId: 'phone',
    platform: 'ios',
    sessionId: 's1',
    seq: userSeq,
    connectionId: 'c1',
    service: '',
    payload: Buffer.alloc(payloadBytes),
    priority: 0,
    receivedAtMs: 1,
    roomId: '',
  }
}

interface Append { readonly seqs: number[], readonly bytes: number, readonly options: any }

/** A publisher over a stream that takes an append when it is told to. */
function given (t: Test, published = -1n) {
  const appends: Append[] = []
  const failures: string[] = []
  const aside: number[] = []
  const refusing: unknown[] = []
  let progress = 0
  let release = () => {}
  let open = true
  const publisher = new Publisher({
    log: {
      async append (_stream, partition, items, options) {
        if (!open) await new Promise<void>(resolve => { release = resolve })
        const bytes = items.reduce((sum, item) => sum + uplinks.bytesOf(item as any), 0)
        const refusal = refusing.shift()
        if (refusal) throw refusal
        appends.push({ seqs: items.map(item => (item as any).userSeq), bytes, options })
        return { partition, offset: 0n, index: 0 }
      },
    },
    stream: uplinks,
    partition: 0,
    setAside: ({ userSeq }) => { aside.push(userSeq) },
    failed: reason => { failures.push(reason) },
    progressed: () => { progress++ },
  }, -1n, published)
  t.teardown(() => { publisher.end() })
  return {
    publisher,
    appends,
    failures,
    aside,
    refusing,
    hold: () => { open = false },
    release: () => { open = true; release() },
    get progress () { return progress },
  }
}

t.test('A publisher', async t => {
  t.test('that has ended lets nobody save, though the stream may be ahead of what is folded', async t => {
    const { publisher } = given(t, 10n)
    t.equal(await publisher.until(5n), true)
    publisher.end()
    t.equal(await publisher.until(5n), false)
  })
  t.test('appends whole blocks, in room that is kept for them, and says how far it is', async t => {
    const world = given(t)
    world.publisher.add(0n, [accepted(1), accepted(2)])
    world.publisher.add(1n, [accepted(3)])
    world.publisher.add(2n, [])
    world.publisher.publish()
    t.ok(await world.publisher.until(2n))
    t.match(world.appends, [{ seqs: [1, 2, 3], options: { derivedFrom: 2n, lazy: true, reserved: true } }])
    t.equal(world.publisher.bytes, 0)
    t.equal(world.publisher.published, 2n)
    t.ok(world.progress > 0)
  })
  t.test('leaves out what its stream has', async t => {
    const world = given(t, 1n)
    for (let i = 0; i < 4; i++) world.publisher.add(BigInt(i), [accepted(i + 1)])
    world.publisher.publish()
    await world.publisher.until(3n)
    t.strictSame(world.appends.flatMap(({ seqs }) => seqs), [3, 4])
  })
  t.test('splits by bytes, at blocks of the ledger, so that each append says where the next owner goes on', async t => {
    const world = given(t)
    world.hold()
    const pair = (i: number) => [accepted(2 * i + 1, 50_000), accepted(2 * i + 2, 50_000)]
    for (let i = 0; i < 30; i++) world.publisher.add(BigInt(i), pair(i))
    t.ok(world.publisher.bytes > 3e6)
    world.publisher.publish()
    world.release()
    await world.publisher.until(29n)
    t.ok(world.appends.length >= 12)
    t.ok(world.appends.every(({ bytes }) => bytes <= 256 << 10), 'a commit takes each in one piece')
    t.ok(world.appends.every(({ seqs, options }) => options.derivedFrom === BigInt(seqs.at(-1)! / 2 - 1)))
    t.strictSame(world.appends.flatMap(({ seqs }) => seqs), Array.from({ length: 60 }, (_, i) => i + 1))
  })
  t.test('appends a block that is larger than that by itself', async t => {
    const world = given(t)
    world.publisher.add(0n, Array.from({ length: 30 }, (_, i) => accepted(i + 1, 50_000)))
    world.publisher.add(1n, [accepted(31)])
    world.publisher.publish()
    await world.publisher.until(1n)
    t.strictSame(world.appends.map(({ seqs }) => seqs.length), [30, 1])
  })
  t.test('tries again, in order, and tells each failure and nobody else', async t => {
    const world = given(t)
    world.refusing.push(new GatewayError('ledger-unavailable'), new GatewayError('ledger-unavailable'))
    world.publisher.add(0n, [accepted(1)])
    world.publisher.publish()
    world.publisher.add(1n, [accepted(2)])
    world.publisher.publish()
    await world.publisher.until(1n)
    t.equal(world.failures.length, 2)
    t.strictSame(world.appends.flatMap(({ seqs }) => seqs), [1, 2])
  })
  t.test('sets aside what the stream never takes, and publishes what is around it', async t => {
    const world = given(t)
    const tooLarge = new GatewayError('payload-too-large')
    world.refusing.push(tooLarge, tooLarge, undefined, tooLarge)
    world.publisher.add(0n, [accepted(1), accepted(2), accepted(3)])
    world.publisher.publish()
    await world.publisher.until(0n)
    t.strictSame([...world.aside, ...world.appends.flatMap(({ seqs }) => seqs)].sort(), [1, 2, 3])
    t.ok(world.aside.length > 0)
    t.equal(world.publisher.published, 0n)
  })
  t.test('that ends lets nobody wait, and publishes no more', async t => {
    const world = given(t)
    world.hold()
    world.publisher.add(0n, [accepted(1)])
    world.publisher.publish()
    const waiting = world.publisher.until(0n)
    world.publisher.end()
    t.notOk(await waiting)
    t.notOk(await world.publisher.until(5n))
    world.refusing.push(new GatewayError('ledger-unavailable'))
    world.release()
    for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve))
    t.strictSame(world.appends, [])
    t.strictSame(world.failures, [])
  })
})

t.test('A bound of what waits for the stream', async t => {
  t.test('counts all that is not there yet', async t => {
    const world = given(t)
    world.hold()
    world.publisher.add(0n, [accepted(1, 1_000)])
    world.publisher.publish()
    world.publisher.add(1n, [accepted(2, 1_000)])
    t.equal(world.publisher.bytes, 2 * uplinks.bytesOf(accepted(1, 1_000)), 'also what is on its way')
    world.release()
    await until(() => world.publisher.bytes === 0)
  })
})
