import t, { type Test } from 'tap'
import { startTestNode, type TestNode, until } from '../node.js'
import { ackedUpTo, alive, connected, dialects, endsWith, uplinks } from './dialects.js'
import { type Heard } from './hand-avro.js'

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

for (const dialect of dialects) {
  t.test(`An uplink over ${dialect}`, async t => {
    const node = await startTestNode(t, { LEDGERLINE_UPLINK_WINDOW: '64' })

    t.test('is in the uplinks of the user exactly once, with the number that its ack named', async t => {
      const { client } = await connected(t, node, dialect, 'once')
      client.send({ op: 'uplink', seq: 1, service: 'chat', payload: 'hello', priority: 3 })
      t.strictSame(await client.next(), { op: 'uplinkAck', seq: 1, userSeqs: [1] })
      client.send({ op: 'uplink', seq: 1, service: 'chat', payload: 'hello', priority: 3 })
      t.strictSame(await client.next(), { op: 'uplinkAck', seq: 1, userSeqs: [1] })
      const lines = await uplinksOf(node, 'once', 1)
      t.equal(lines.length, 1)
      t.match(lines[0], { userSeq: 1, seq: 1, sessionId: 's1', deviceId: 'phone', service: 'chat', payload: 'hello' })
    })

    t.test('gets its original answer again while that is remembered, and later an ack without numbers', async t => {
      const { client } = await connected(t, node, dialect, 'repeater')
      client.sendAll(uplinks(1, 200))
      t.strictSame(await ackedUpTo(client, 200), numbers(1, 200))
      client.sendAll(uplinks(137, 200))
      t.strictSame(await answers(client, 64), numbers(137, 200), 'the last window is remembered')
      client.sendAll(uplinks(1, 1))
      t.strictSame(await client.next(), { op: 'uplinkAck', seq: 1, userSeqs: [] })
    })

    t.test('gets its original answer on a new connection too', async t => {
      const { client: first } = await connected(t, node, dialect, 'again')
      first.sendAll(uplinks(1, 3))
      await ackedUpTo(first, 3)
      await node.gone(() => { first.destroy() })
      const { client } = await connected(t, node, dialect, 'again')
      client.sendAll(uplinks(3, 4))
      t.strictSame(await answers(client, 2), [3, 4])
    })

    t.test('is refused behind a gap, with the seq that is expected', async t => {
      const { client } = await connected(t, node, dialect, 'gap')
      client.sendAll(uplinks(1, 2))
      await ackedUpTo(client, 2)
      client.send({ op: 'uplink', seq: 4, payload: 'too early' })
      t.match(await client.next(), { op: 'uplinkRefused', expectedSeq: 3, code: 'gap', retryAfterMs: 0 })
      client.sendAll(uplinks(3, 4))
      t.strictSame(await answers(client, 2), [3, 4])
    })

    t.test('shares the numbers of its user with those of other devices', async t => {
      const { client: phone } = await connected(t, node, dialect, 'two')
      const { client: tablet } = await connected(t, node, dialect, 'two', { deviceId: 'tablet', sessionId: 's2' })
      phone.sendAll(uplinks(1, 30))
      tablet.sendAll(uplinks(1, 30))
      const [one, two] = await Promise.all([ackedUpTo(phone, 30), ackedUpTo(tablet, 30)])
      t.strictSame([...one, ...two].sort((a, b) => a - b), numbers(1, 60))
      t.strictSame(one, one.toSorted((a, b) => a - b), 'strictly increasing on each')
    })

    t.test('begins anew with a new sessionId, while downlinks go on', async t => {
      const { client: first } = await connected(t, node, dialect, 'reinstalled')
      first.sendAll(uplinks(1, 3))
      await ackedUpTo(first, 3)
      await node.push('reinstalled', 'one')
      t.match(await first.next(), { op: 'downlink', seq: 1 })
      await node.gone(() => { first.destroy() })
      const { client, welcome } = await connected(t, node, dialect, 'reinstalled', { sessionId: 's2', downlinkSeq: 1 })
      t.match(welcome, { resumed: true, uplinkSeq: 0, downlinkSeq: 1 })
      client.sendAll(uplinks(1, 1))
      t.strictSame(await client.next(), { op: 'uplinkAck', seq: 1, userSeqs: [4] })
      await node.push('reinstalled', 'two')
      t.match(await client.next(), { op: 'downlink', seq: 2, payload: 'two' })
    })

    t.test('is held back when the window is full, and nothing of 10,000 is lost', async t => {
      const { client } = await connected(t, node, dialect, 'flood')
      client.sendAll(uplinks(1, 10_000, 'x'.repeat(500)))
      t.strictSame(await ackedUpTo(client, 10_000), numbers(1, 10_000))
      await alive(t, client)
      await storedAsSent(t, node, 'flood', 10_000, 'x'.repeat(500))
    })

    t.test('is stored as it was sent when it came right behind connect', async t => {
      const { client } = await connected(t, node, dialect, 'eager', {}, uplinks(1, 50, 'y'.repeat(300)))
      await ackedUpTo(client, 50)
      await storedAsSent(t, node, 'eager', 50, 'y'.repeat(300))
    })
  })

  t.test(`A client of ${dialect} over its rate`, async t => {
    const node = await startTestNode(t, { LEDGERLINE_FRAME_RATE: '20', LEDGERLINE_FRAME_BURST: '10' })

    t.test('is throttled with a wait, and gets through once it waits', async t => {
      const { client } = await connected(t, node, dialect, 'hasty')
      client.sendAll(uplinks(1, 15))
      let { acked, refused } = await settled(client, 15)
      t.ok(refused.length >= 1, 'some are refused')
      for (let tries = 0; acked < 15 && tries < 5; tries++) {
        for (const { code, expectedSeq, retryAfterMs } of refused) {
          t.equal(code, 'throttled')
          t.ok(retryAfterMs > 0 && retryAfterMs < 10_000, `wait ${retryAfterMs} ms`)
          t.ok(expectedSeq > acked, 'what is acked is never asked for again')
        }
        const { expectedSeq, retryAfterMs } = refused.at(-1)!
        await new Promise(resolve => setTimeout(resolve, retryAfterMs))
        client.sendAll(uplinks(expectedSeq, 15))
        ;({ acked, refused } = await settled(client, 15, acked))
      }
      t.equal(acked, 15)
    })

    t.test('is told the first seq that was refused, and not once for each', async t => {
      const { client } = await connected(t, node, dialect, 'hastier')
      client.sendAll(uplinks(1, 30))
      const { refused } = await settled(client, 30)
      const first = refused[0]!.expectedSeq
      t.ok(refused.every(({ expectedSeq }) => expectedSeq === first), 'resending from it closes the gap at once')
      await node.gone(() => { client.destroy() })
      t.ok(refused.length + client.waiting < 10, 'of some twenty')
    })

    t.test('is not told to resend what is acked when it repeats that too fast', async t => {
      const { client } = await connected(t, node, dialect, 'repeating')
      client.sendAll(uplinks(1, 8))
      await ackedUpTo(client, 8)
      client.sendAll(Array.from({ length: 20 }, () => uplinks(1, 1)[0]!))
      const { refused } = await settled(client, 9, 8)
      t.ok(refused.length > 0)
      for (const { expectedSeq } of refused) t.equal(expectedSeq, 9)
    })

    t.test('hears nothing before connected, even when it is refused at once', async t => {
      const { client } = await connected(t, node, dialect, 'first-words')
      await node.gone(() => { client.destroy() })
      const { client: again, welcome } = await connected(t, node, dialect, 'first-words', { sessionId: 's2' }, uplinks(1, 30))
      t.equal(welcome.op, 'connected')
      const { acked } = await settled(again, 30)
      t.ok(acked >= 10)
    })

    t.test('is closed when it goes on and on', async t => {
      const { client } = await connected(t, node, dialect, 'relentless')
      client.sendAll(Array.from({ length: 1_000 }, () => ({ op: 'ping' })))
      await endsWith(t, client, 'rate-limited')
      t.strictSame(node.logged, [])
    })
  })
}

/** What business services get of this user, once it is `count` lines: they come a little after the acks. */
async function uplinksOf (node: TestNode, userId: string, count: number): Promise<any[]> {
  return await until(`${count} uplinks of ${userId}`, async () => {
    const { text } = await node.request('GET', '/v1/uplinks')
    const lines = text.trim().split('\n').filter(line => line.includes(`"${userId}"`)).map(line => JSON.parse(line))
    return lines.length >= count && lines
  })
}

/** Each of `uplinks(1, count, payload)` is there once, in order, with its own bytes. */
async function storedAsSent (t: Test, node: TestNode, userId: string, count: number, payload: string): Promise<void> {
  const lines = await uplinksOf(node, userId, count)
  t.equal(lines.length, count)
  const wrong = lines.filter((line, i) => line.seq !== i + 1 || line.payload !== `${payload} ${i + 1}`)
  t.strictSame(wrong, [])
}

/** The userSeqs of the next `count` uplinks that are acked, in however many frames. */
async function answers (client: { next (): Promise<Heard> }, count: number): Promise<number[]> {
  const all: number[] = []
  while (all.length < count) {
    const frame = await client.next()
    if (frame.op !== 'uplinkAck') throw new Error(`wanted an ack, got ${JSON.stringify(frame)}`)
    all.push(...frame.userSeqs)
  }
  return all
}

/** Waits until everything up to `last` is acked, or all before it that was not refused. */
async function settled (
  client: { next (): Promise<Heard> }, last: number, acked = 0
): Promise<{ acked: number, refused: Heard[] }> {
  const refused: Heard[] = []
  while (acked < last && !refused.some(({ expectedSeq }) => expectedSeq === acked + 1)) {
    const frame = await client.next()
    if (frame.op === 'uplinkRefused') refused.push(frame)
    else acked = Math.max(acked, frame.seq)
  }
  return { acked, refused }
}
