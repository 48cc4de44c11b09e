import t, { type Test } from 'tap'
import { Intake } from '../../../actors/connection/intake.js'
import type { Frame } from '../../../schemas/frames.js'
import { startTestNode, until } from '../node.js'
import { connected, dialects } from './dialects.js'
import { type GivenConnection, openConnection, turn, uplinks } from './given-connection.js'

const bytesMax = 1 << 20

/** `count` connections that share the room of one node. */
async function given (
  t: Test, count: number, intakeBytesMax = bytesMax
): Promise<{ intake: Intake, clients: GivenConnection[] }> {
  const intake = new Intake(intakeBytesMax)
  const clients: GivenConnection[] = []
  for (let i = 0; i < count; i++) clients.push(await openConnection(t, {}, {}, intake))
  await turn()
  return { intake, clients }
}

function large (seq: number, bytes = 60_000): Frame {
  return { op: 'uplink', seq, service: '', payload: Buffer.alloc(bytes), priority: 0, roomId: '' }
}

/** Sends as fast as it is read, up to `seqMax`. @returns the last seq that was sent */
async function sendAll (client: GivenConnection, seq: number, seqMax: number): Promise<number> {
  while (seq < seqMax && !client.isPaused()) client.received(large(++seq))
  await turn()
  return seq
}

t.test('What is read and not dealt with', async t => {
  t.test('is bounded, whatever one connection sends', async t => {
    const { intake, clients: [busy, quiet] } = await given(t, 2)
    const sent = await sendAll(busy!, 0, 200)
    t.ok(busy!.isPaused())
    t.ok(intake.bytes <= bytesMax / 2 + 65_536, `${intake.bytes} bytes: it leaves as much as it has`)
    quiet!.received(...uplinks(1, 1))
    await turn()
    t.notOk(quiet!.isPaused())
    t.strictSame(quiet!.uplinksAppended(), [1])
    busy!.storeAll()
    await turn()
    t.ok(busy!.isPaused(), 'stored is not all: the user actor has not answered')
    busy!.acked(sent)
    await turn()
    t.notOk(busy!.isPaused())
    t.ok(intake.bytes < 1_000, `${intake.bytes} bytes`)
  })

  t.test('is shared by those that send, and a quiet one is read however full it is', async t => {
    const { intake, clients } = await given(t, 31)
    const [quiet, ...busy] = clients
    for (const client of busy) await sendAll(client, 0, 200)
    t.ok(busy.every(client => client.isPaused()))
    t.ok(intake.bytes <= bytesMax + 30 * 65_536, `${intake.bytes} bytes: a read of each, at most, over the bound`)
    for (let seq = 1; seq <= 20; seq++) {
      quiet!.received(large(seq, 500))
      await turn()
      quiet!.storeAll()
      quiet!.acked(seq)
      await turn()
      t.notOk(quiet!.isPaused())
    }
    t.equal(quiet!.uplinksAppended().length, 20)
  })

  t.test('lets those that wait be read again in turns, and none is left out', async t => {
    const { intake, clients } = await given(t, 40)
    const sent = clients.map(() => 0)
    for (let round = 0; round < 200; round++) {
      for (const [i, client] of clients.entries()) if (!client.isPaused()) client.received(large(++sent[i]!))
      await turn()
      for (const [i, client] of clients.entries()) {
        client.storeAll()
        client.acked(sent[i]!)
      }
      await turn()
    }
    const least = Math.min(...sent)
    t.ok(least >= 20, `${least} of each at least`)
    t.ok(Math.max(...sent) <= 2 * least, `the luckiest sent ${Math.max(...sent)}, all others ${least}`)
    t.equal(intake.bytes, 0)
  })

  t.test('is read again a megabyte a turn, however much room there is at once', async t => {
    const { intake, clients } = await given(t, 60, 8 << 20)
    const sent: number[] = []
    for (const client of clients) sent.push(await sendAll(client, 0, 200))
    t.ok(clients.every(client => client.isPaused()))
    for (const [i, client] of clients.entries()) {
      client.storeAll()
      client.acked(sent[i]!)
    }
    await new Promise(resolve => setImmediate(resolve)) // all is dealt with, and nobody is read again yet
    for (const since = performance.now(); performance.now() - since < 60;); // whoever looks now and then does so, too
    const isRead = () => clients.filter(client => !client.isPaused()).length
    const inTurns: number[] = []
    while (isRead() < clients.length) {
      const before = isRead()
      await new Promise(resolve => setImmediate(resolve))
      inTurns.push(isRead() - before)
    }
    t.ok(Math.max(...inTurns) <= 16, inTurns.join())
    t.equal(intake.waiting, 0)
  })

  t.test('is not read at all where it would be too many objects, until half of them are gone', async t => {
    const { intake, clients } = await given(t, 2)
    intake.everybody = () => clients.map(({ connection }) => connection)
    const [busy, quiet] = clients
    const frames = bytesMax / 64 + 1
    busy!.received(...uplinks(1, frames))
    t.ok(busy!.isPaused() && quiet!.isPaused())
    await turn()
    busy!.storeAll()
    busy!.acked(frames)
    await until('both are read again', () => !busy!.isPaused() && !quiet!.isPaused())
    t.equal(intake.bytes, 0)
  })

  t.test('is let go of when the connection leaves, refused or not', async t => {
    const { intake, clients: [first, second] } = await given(t, 2)
    await sendAll(first!, 0, 5)
    await sendAll(second!, 0, 5)
    first!.leaves(false)
    await turn()
    t.ok(intake.bytes > 5 * 60_000, 'what is on its way to the ledger is still in memory')
    first!.storeAll()
    second!.refuseAll()
    await turn()
    t.equal(intake.bytes, 0)
  })

  t.test('counts frames that are not whole, and finishes them though there is no room', async t => {
    const { intake, clients } = await given(t, 20)
    for (const client of clients) client.keepsPartial(60_000)
    t.ok(clients.slice(-2).every(client => client.isPaused()))
    await until('each is read again', () => !clients.some(client => client.isPaused()))
    for (const client of clients) {
      client.keepsPartial(0)
      client.received(large(1))
    }
    await turn()
    for (const client of clients) {
      client.storeAll()
      client.acked(1)
    }
    await until('all is dealt with', () => intake.bytes === 0)
  })
})

for (const dialect of dialects) {
  t.test(`A node whose clients send large uplinks over ${dialect} and never read`, async t => {
    const node = await startTestNode(t, { LEDGERLINE_INTAKE_BYTES_MAX: String(bytesMax) })
    const count = 8
    const frames = Array.from({ length: 15 }, (_, i) => ({ op: 'uplink', seq: i + 1, payload: 'x'.repeat(60_000) }))
    for (let i = 0; i < count; i++) {
      const { client } = await connected(t, node, dialect, `busy-${i}`)
      client.sendAll(frames)
    }
    const { client: quiet } = await connected(t, node, dialect, 'quiet')
    let largest = 0
    const intakeBytes = async () => {
      const { text } = await node.request('GET', '/metrics')
      return Number(/^ledgerline_intake_bytes (\d+)/m.exec(text)![1])
    }
    for (let seq = 1; seq <= 10; seq++) {
      largest = Math.max(largest, await intakeBytes())
      quiet.sendAll([{ op: 'uplink', seq, payload: 'hello' }])
      t.match(await quiet.next(), { op: 'uplinkAck', seq })
    }
    t.ok(largest <= bytesMax + count * 65_536 * 2, `at most ${largest} bytes were held`)
    await until('all of it is stored', async () => {
      const { text } = await node.request('GET', '/metrics')
      return Number(/^ledgerline_uplinks_total (\d+)/m.exec(text)![1]) === 15 * count + 10
    })
    await until('nothing is held', async () => await intakeBytes() === 0)
  })
}
