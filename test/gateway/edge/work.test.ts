import t, { type Test } from 'tap'
import { Work } from '../../../actors/connection/work.js'
import { until } from '../node.js'
import { type GivenConnection, openConnection, turn, uplinks } from './given-connection.js'

/** Frames that one read brings; five of them are fewer than the bound, six are more. */
const many = 25

/** `count` connections that share the work of one node in overload, and the node's clock. */
async function given (t: Test, count: number) {
  let nowMs = 10_000
  let isOverloaded = true
  const work = new Work(() => isOverloaded, () => nowMs)
  const clients: GivenConnection[] = []
  for (let i = 0; i < count; i++) {
    clients.push(await openConnection(t, { uplinkWindow: 10_000 }, {}, undefined, undefined, undefined, work))
  }
  await turn()
  const sent = new Map<GivenConnection, number>()
  return {
    work,
    clients,
    /** One read of it brings so many uplinks, and is dealt with. */
    async sends (client: GivenConnection, count = many, priority = 0): Promise<void> {
      const last = sent.get(client) ?? 0
      sent.set(client, last + count)
      client.received(...uplinks(last + 1, last + count).map(frame => ({ ...frame, priority })))
      await turn()
    },
    async passes (ms: number): Promise<void> {
      nowMs += ms
      await turn()
    },
    overload (is: boolean): void { isOverloaded = is },
  }
}

/** What it has sent so far is stored. */
async function stored (client: GivenConnection): Promise<void> {
  client.storeAll()
  await turn()
}

/** Six that send, of which the last finds no room. */
async function givenFull (t: Test, more: number) {
  const all = await given(t, 6 + more)
  const { clients, sends } = all
  const busy = clients.splice(0, 6)
  for (const client of busy) await sends(client)
  return { ...all, busy }
}

/** Those that wait send nothing when they are read again. @returns their places, in the order of their turns */
async function released (clients: GivenConnection[]): Promise<number[]> {
  const order = new Set<number>()
  for (let turns = 0; turns < 20; turns++) {
    for (const [i, client] of clients.entries()) if (!client.isPaused()) order.add(i)
    await new Promise(resolve => setImmediate(resolve))
  }
  return [...order]
}

const paused = (clients: GivenConnection[]) => clients.map(client => client.isPaused())

t.test('Frames in work', async t => {
  t.test('hold back who sends much, once there are enough of them, until some are stored', async t => {
    const { busy, work } = await givenFull(t, 0)
    t.strictSame(paused(busy), [false, false, false, false, false, true])
    t.equal(work.waiting, 1)
    await stored(busy[0]!)
    t.notOk(busy[5]!.isPaused())
    t.equal(work.waiting, 0)
  })

  t.test('hold back nobody where there is no overload, and let go of who waits when it is over', async t => {
    const { busy, clients: [late], sends, overload } = await givenFull(t, 1)
    overload(false)
    await sends(late!)
    await sends(late!)
    t.notOk(late!.isPaused())
    await until('it is looked', () => !busy[5]!.isPaused())
  })

  t.test('hold back nobody who sends little', async t => {
    const { clients: [quiet], sends, passes, overload } = await givenFull(t, 1)
    for (let i = 0; i < 15; i++) await sends(quiet!, 1) // and `connect` was one
    t.notOk(quiet!.isPaused())
    t.ok(quiet!.connection.isQuiet)
    await passes(1_000)
    for (let i = 0; i < 16; i++) await sends(quiet!, 1)
    t.notOk(quiet!.isPaused())
    await sends(quiet!, 1)
    t.notOk(quiet!.connection.isQuiet, 'more in a second is more than a little')
    overload(false)
    t.ok(quiet!.connection.isQuiet, 'but in overload alone')
  })

  t.test('let those that wait be read by priority, in order of arrival, and now and then the oldest', async t => {
    const { busy, clients: [first, urgent, second, important], sends, passes } = await givenFull(t, 4)
    await passes(1)
    await sends(first!)
    await passes(1)
    await sends(urgent!, many, 5)
    await sends(second!, many, -1)
    await sends(important!, many, 1)
    t.strictSame(paused([busy[5]!, first!, urgent!, second!, important!]), [true, true, true, true, true])
    for (const one of busy.slice(0, 5)) one.storeAll()
    t.strictSame(await released([busy[5]!, first!, urgent!, second!, important!]), [0, 2, 4, 1, 3])
  })

  t.test('are more where the log takes long: a core would have nothing to do', async t => {
    const { work, clients, sends, passes } = await given(t, 8)
    work.logTook(0.4)
    await passes(1_000)
    await sends(clients.pop()!, 1)
    for (const client of clients) await sends(client)
    t.strictSame(paused(clients), [false, false, false, false, false, false, true])
  })

  t.test('are not what the log does not give back: what it holds for one partition is no trouble of the others', async t => {
    const { busy, sends, passes } = await givenFull(t, 0)
    await passes(2_000)
    await until('it is looked', () => !busy[5]!.isPaused())
    for (const one of busy.slice(0, 4)) await sends(one)
    t.strictSame(paused(busy), [false, false, false, false, false, false])
    for (const one of busy) await stored(one)
    for (const one of busy) await sends(one)
    t.strictSame(paused(busy), [false, false, false, false, false, true], 'nor is it given back later')
  })

  t.test('say how long they have waited for being read', async t => {
    const { busy, work, passes } = await givenFull(t, 0)
    await passes(300)
    await stored(busy[0]!)
    const ms = work.takeWaitMs() // one of six reads, and six of `connect`
    t.ok(Math.abs(ms - 300 / 6) < 15, `${ms} ms in the mean`)
    t.equal(work.takeWaitMs(), 0)
  })

  t.test('keep nobody from being heard: who is held is not taken for silent', async t => {
    const { busy } = await givenFull(t, 0)
    const held = busy[5]!
    for (let i = 0; i < 3; i++) await held.pass(120_000)
    t.equal(held.phase(), 'open')
    await stored(busy[0]!)
    t.notOk(held.isPaused())
    await held.pass(1_000)
    t.equal(held.phase(), 'open', 'what it sent meanwhile has yet to be read')
    await held.pass(120_000)
    t.equal(held.phase(), 'closing', 'and who sends nothing then is silent')
  })

  t.test('forget a connection that leaves', async t => {
    const { busy, work } = await givenFull(t, 0)
    t.equal(work.waiting, 1)
    busy[5]!.leaves(true)
    await turn()
    t.equal(work.waiting, 0)
  })
})
