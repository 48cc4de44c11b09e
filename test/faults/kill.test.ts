import t, { type Test } from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStore } from '../../ledger/embedded/store.js'
import { ledger } from '../../schemas/streams.js'
import { BusyClient } from './busy-client.js'
import { type NodeProcess, randomFrom, readUplinks, request, startProcess, until } from './node-process.js'

const seed = Number(process.env['LEDGERLINE_TEST_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
t.comment(`LEDGERLINE_TEST_SEED=${seed} repeats the moments of the kills`)

const users = Array.from({ length: 10 }, (_, i) => `user${i}`)

/** Ten users with two devices each, TCP with Avro and WebSocket with JSON, and business that never rests. */
class Traffic {
  readonly clients: BusyClient[] = users.flatMap(userId => [
    new BusyClient({ userId, deviceId: 'tcp', transport: 'tcp', outstanding: 8 }),
    new BusyClient({ userId, deviceId: 'ws', transport: 'ws', outstanding: 5 }),
  ])

  /** Message ids by user, of requests that were answered with 202 and `queued`. */
  readonly queued = new Map<string, Set<string>>(users.map(userId => [userId, new Set()]))
  #node: NodeProcess | undefined
  #stopped = false
  #pushing = true
  readonly #running: Array<Promise<void>> = []

  constructor (readonly t: Test, readonly random: () => number) {
    t.teardown(async () => {
      this.#stopped = true
      this.#pushing = false
      for (const client of this.clients) client.stop()
      await Promise.all(this.#running)
    })
    for (const client of this.clients) this.#running.push(this.#keepOpen(client))
    for (let i = 0; i < 3; i++) this.#running.push(this.#keepPushing(i))
  }

  get acked (): number { return this.clients.reduce((sum, { acked }) => sum + acked.size, 0) }

  /** From now on clients and business talk to this node; with none they wait. */
  goTo (node: NodeProcess | undefined): void { this.#node = node }

  /** No more work is made, and what there is comes to its end. */
  async finish (): Promise<void> {
    this.#pushing = false
    for (const client of this.clients) client.busy = false
    await Promise.all(this.#running.slice(this.clients.length))
    await until(() => this.clients.every(({ userId, complaints, unacked, seen }) =>
      complaints.length > 0 || (unacked === 0 && seen.length >= this.queued.get(userId)!.size)))
  }

  async leave (): Promise<void> {
    this.#stopped = true
    await Promise.all(this.clients.map(client => client.leave()))
  }

  async #keepOpen (client: BusyClient): Promise<void> {
    while (!this.#stopped) {
      if (!client.isOpen && this.#node) await client.open(this.#node)
      await new Promise(resolve => setTimeout(resolve, 5 + 20 * this.random()))
    }
  }

  /** Whoever gets no answer asks again with the same id until there is one. */
  async #keepPushing (pusher: number): Promise<void> {
    // What is requested before goes to the first session that opens, and to no other.
    await until(() => this.#stopped || this.clients.every(({ isOpen }) => isOpen))
    for (let i = 0; this.#pushing; i++) {
      const messageId = `m${pusher}.${i}`
      const userIds = users.filter(() => this.random() < 0.3)
      if (userIds.length === 0) continue
      for (;;) {
        const node = this.#node
        const answer = node && await request(node, '/v1/downlinks', {
          to: { userIds }, messageId, payload: messageId,
        }).catch(() => undefined)
        for (const { userId, status } of answer?.status === 202 ? answer.body.users : []) {
          if (status === 'queued') this.queued.get(userId)!.add(messageId)
        }
        if (answer?.body?.users?.every(({ status }: { status: string }) => status === 'queued')) break
        await new Promise(resolve => setTimeout(resolve, 20))
      }
    }
  }
}

t.test('After kill -9 in the middle of 20 busy clients, ten times', async t => {
  const directory = t.testdir()
  const random = randomFrom(seed)
  let node = await startProcess(t, directory)
  const traffic = new Traffic(t, random)
  traffic.goTo(node)
  const openAtKill: string[] = []
  for (let kill = 1; kill <= 10; kill++) {
    const enough = traffic.acked + 100 + Math.trunc(2_000 * random())
    await until(() => traffic.acked >= enough && traffic.clients.every(({ isOpen }) => isOpen))
    await new Promise(resolve => setTimeout(resolve, 20 * random()))
    for (const { connected } of traffic.clients) if (connected) openAtKill.push(connected.connectionId)
    traffic.goTo(undefined)
    await node.kill('SIGKILL')
    node = await startProcess(t, directory)
    t.strictSame(await onlineUsers(node), [], `nobody is online after kill ${kill} until he comes back`)
    traffic.goTo(node)
  }
  await traffic.finish()
  const queued = [...traffic.queued.values()].reduce((sum, { size }) => sum + size, 0)
  t.comment(`${traffic.acked} uplinks acked, ${queued} downlinks queued`)
  await checkAll(t, node, traffic)

  await traffic.leave()
  await until(async () => (await onlineUsers(node)).length === 0)
  t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null })
  await checkHistory(t, directory, openAtKill)
})

t.test('After SIGTERM in the middle of 20 busy clients, three times', async t => {
  const directory = t.testdir()
  const random = randomFrom(seed + 1)
  let node = await startProcess(t, directory)
  const traffic = new Traffic(t, random)
  traffic.goTo(node)
  for (let stop = 1; stop <= 3; stop++) {
    const enough = traffic.acked + 100 + Math.trunc(2_000 * random())
    await until(() => traffic.acked >= enough && traffic.clients.every(({ isOpen }) => isOpen))
    traffic.goTo(undefined)
    t.strictSame(await node.kill('SIGTERM'), { code: 0, signal: null }, `stop ${stop} ends as asked`)
    t.strictSame(node.lines.filter(({ level }) => level >= 50), [], 'and logs no error')
    node = await startProcess(t, directory)
    traffic.goTo(node)
  }
  await traffic.finish()
  await checkAll(t, node, traffic)
  t.ok(traffic.clients.every(({ connections }) => connections === 4), 'each client connected once to each node')
})

/** Everything that an ack or a 202 has promised. */
async function checkAll (t: Test, node: NodeProcess, traffic: Traffic): Promise<void> {
  // An ack says that the uplink is in the ledger; the stream has it a moment later.
  let uplinks = await readUplinks(node)
  await until(async () => (uplinks = await readUplinks(node)).length >= traffic.acked, 50)
  await t.test('every acked uplink is there exactly once, in order, with the userSeq that its ack named', async t => {
    for (const { userId, sessionId, acked } of traffic.clients) {
      const mine = uplinks.filter(uplink => uplink.userId === userId && uplink.sessionId === sessionId)
      const expected = Array.from({ length: acked.size }, (_, i) => i + 1)
      t.strictSame(mine.map(({ seq }) => seq), expected, `${sessionId}: seqs`)
      const wrong = mine.filter(({ seq, userSeq, payload }) =>
        payload !== `${sessionId} ${seq}` || (acked.get(seq) !== 0 && acked.get(seq) !== userSeq))
      t.strictSame(wrong, [], `${sessionId}: userSeqs and payloads`)
    }
  })
  await t.test('the userSeqs of each user have no gaps', async t => {
    for (const userId of users) {
      const userSeqs = uplinks.filter(uplink => uplink.userId === userId).map(({ userSeq }) => userSeq)
      t.strictSame(userSeqs, Array.from({ length: userSeqs.length }, (_, i) => i + 1), userId)
    }
  })
  await t.test('every queued downlink has reached the application of every session exactly once, in order', async t => {
    for (const { userId, sessionId, seen } of traffic.clients) {
      const messageIds = seen.map(({ messageId }) => messageId)
      t.strictSame([...messageIds].sort(), [...traffic.queued.get(userId)!].sort(), `${sessionId}: which`)
      t.strictSame(seen.map(({ seq }) => seq), seen.map((_, i) => i + 1), `${sessionId}: seqs`)
    }
    for (const userId of users) {
      const [a, b] = traffic.clients.filter(client => client.userId === userId)
      t.strictSame(a!.seen, b!.seen, `${userId}: both devices saw the same`)
    }
  })
  await t.test('no client saw what no client must see', async t => {
    for (const { sessionId, complaints } of traffic.clients) t.strictSame(complaints, [], sessionId)
  })
  await t.test('presence shows the connections that are open, and no others', async t => {
    for (const userId of users) {
      const { body } = await request(node, `/v1/users/${userId}/presence`)
      const open = traffic.clients.filter(client => client.userId === userId)
      const expected = open.map(({ connected }) => connected?.connectionId).sort()
      t.strictSame(body.sessions.map(({ connectionId }: any) => connectionId).sort(), expected, userId)
    }
  })
}

async function onlineUsers (node: NodeProcess): Promise<string[]> {
  const { body } = await request(node, '/v1/presence', { userIds: users })
  return body.users.filter(({ online }: { online: boolean }) => online).map(({ userId }: { userId: string }) => userId)
}

/** What the ledger says about connections, read from the data directory that the node has left. */
async function checkHistory (t: Test, directory: string, openAtKill: readonly string[]): Promise<void> {
  const store = await openStore({ directory, neighbours: ['jwt-secret', 'api-key'] })
  t.teardown(() => store.close())
  const log = embeddedLog(store)
  const opened = new Set<string>()
  const codes = new Map<string, string[]>()
  for (let partition = 0; partition < log.partitions(ledger); partition++) {
    for await (const { items } of log.read(ledger, partition, { from: 0n })) {
      for (const { fact } of items) {
        if (fact.type === 'ConnectionOpened') opened.add(fact.connectionId)
        if (fact.type !== 'ConnectionClosed') continue
        t.ok(opened.has(fact.connectionId), 'a connection that ended was open')
        codes.set(fact.connectionId, [...codes.get(fact.connectionId) ?? [], fact.code])
      }
    }
  }
  t.strictSame([...opened].filter(connectionId => codes.get(connectionId)?.length !== 1), [], 'each has ended, once')
  const otherwise = openAtKill.filter(connectionId => codes.get(connectionId)?.[0] !== 'node-lost')
  t.strictSame(otherwise, [], 'those that were open at a kill ended with node-lost')
}
