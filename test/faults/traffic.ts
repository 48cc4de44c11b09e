import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { BusyClient } from './busy-client.js'
import { Consumer } from './consumer.js'
import { request, until } from './node-process.js'

/** How long the last work may take until all is quiet. */
const quietWithinMs = 120_000

export const userIds = Array.from({ length: 10 }, (_, i) => `user${i}`)

interface Where { readonly http: string, readonly tcp: string }

/** Ten users with two devices each, TCP with Avro and WebSocket with JSON, and business that never rests. */
export class Traffic {
  readonly clients: readonly BusyClient[]
  readonly consumer: Consumer

  /** Message ids by user, of requests that were answered with 202 and `queued`. */
  readonly queued = new Map<string, Set<string>>(userIds.map(userId => [userId, new Set()]))
  /** How long each of the three that push rests after a request, ms. */
  pushEveryMs = 0
  /** False while clients must keep what they have, however silent it is. */
  reconnects = true
  #edges: readonly Where[] = []
  #push: { readonly http: string } | undefined
  #stopped = false
  #paused = false
  #requests = 0
  readonly #running: Array<Promise<void>> = []

  /** @param tolerated codes of errors that a client may see */
  constructor (readonly t: Test, readonly random: () => number, tolerated?: ReadonlySet<string>) {
    this.clients = userIds.flatMap(userId => [
      new BusyClient({ userId, deviceId: 'tcp', transport: 'tcp', outstanding: 8, tolerated }),
      new BusyClient({ userId, deviceId: 'ws', transport: 'ws', outstanding: 5, tolerated }),
    ])
    this.consumer = new Consumer(this.clients)
    t.teardown(async () => {
      this.#stopped = true
      for (const client of this.clients) client.stop()
      await Promise.all(this.#running)
    })
    for (const client of this.clients) this.#running.push(this.#keepOpen(client))
    for (let i = 0; i < 3; i++) this.#running.push(this.#keepPushing(i))
  }

  get acked (): number { return this.clients.reduce((sum, { acked }) => sum + acked.size, 0) }

  /** From now on clients connect to one of these edges, and business talks to `push`; where there is none they wait. */
  goTo (edges: readonly Where[], push: { readonly http: string } | undefined = edges[0]): void {
    this.#edges = edges
    this.#push = push
  }

  /** Clients that hear nothing for so long, though they wait for an answer, connect anew. */
  reconnectAfterMs (silentMs: number): void {
    const timer = setInterval(() => {
      if (!this.reconnects) return
      for (const client of this.clients) if (client.silentMs > silentMs) client.vanish()
    }, silentMs / 4)
    this.t.teardown(() => { clearInterval(timer) })
  }

  /** Waits until every client has been acked something new. @throws where one has not within the time, with its name */
  async flows (withinMs = Infinity): Promise<void> {
    const before = new Map(this.clients.map(client => [client, client.acked.size]))
    const waiting = () => this.clients.filter(client => client.acked.size <= before.get(client)!)
    for (const end = Date.now() + withinMs; waiting().length > 0; await sleep(20)) {
      if (Date.now() < end) continue
      throw new Error(`nothing acked within ${withinMs} ms: ${waiting().map(client => this.#describe(client)).join('; ')}`)
    }
  }

  /** No more work is made, and what there is comes to its end. */
  async pause (): Promise<void> {
    this.#paused = true
    for (const client of this.clients) client.busy = false
    await until(() => this.#requests === 0)
    for (const end = Date.now() + quietWithinMs; this.#restless().length > 0; await sleep(20)) {
      if (Date.now() < end) continue
      const who = this.#restless().map(client => this.#describe(client))
      throw new Error(`still at work after ${quietWithinMs} ms: ${who.join('; ')}`)
    }
  }

  resume (): void {
    this.#paused = false
    for (const client of this.clients) client.busy = true
  }

  async leave (): Promise<void> {
    this.#stopped = true
    await Promise.all(this.clients.map(client => client.leave()))
  }

  /** Those that miss something yet. */
  #restless (): BusyClient[] {
    return this.clients.filter(({ userId, complaints, isOpen, unacked, seen }) =>
      complaints.length === 0 && !(isOpen && unacked === 0 && seen.length >= this.queued.get(userId)!.size))
  }

  #describe ({ userId, sessionId, isOpen, unacked, seen, connected, silentMs }: BusyClient): string {
    const where = isOpen ? `open at ${connected!.nodeId} as ${connected!.connectionId}` : 'not open'
    return `${sessionId} is ${where}, ${unacked} unacked, seen ${seen.length} of ${this.queued.get(userId)!.size}, ` +
      `silent for ${silentMs} ms`
  }

  async #keepOpen (client: BusyClient): Promise<void> {
    while (!this.#stopped) {
      const edge = this.#edges[Math.trunc(this.random() * this.#edges.length)]
      if (!client.isOpen && edge) await client.open(edge)
      await new Promise(resolve => setTimeout(resolve, 5 + 20 * this.random()))
    }
  }

  /** Whoever gets no answer asks again with the same id until there is one. */
  async #keepPushing (pusher: number): Promise<void> {
    // What is requested before goes to the first session that opens, and to no other.
    await until(() => this.#stopped || this.clients.every(({ isOpen }) => isOpen))
    for (let i = 0; !this.#stopped; i++) {
      await until(() => this.#stopped || !this.#paused)
      const targets = userIds.filter(() => this.random() < 0.3)
      if (targets.length === 0) continue
      this.#requests++
      await this.#request(`m${pusher}.${i}`, targets)
      this.#requests--
      await new Promise(resolve => setTimeout(resolve, this.pushEveryMs))
    }
  }

  async #request (messageId: string, targets: readonly string[]): Promise<void> {
    while (!this.#stopped) {
      const answer = this.#push && await request(this.#push, '/v1/downlinks', {
        to: { userIds: targets }, messageId, payload: messageId,
      }).catch(() => undefined)
      for (const { userId, status } of answer?.status === 202 ? answer.body.users : []) {
        if (isTaken(status)) this.queued.get(userId)!.add(messageId)
      }
      if (answer?.body?.users?.every(({ status }: { status: string }) => isTaken(status))) return
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

/** Whoever tries again, because the answer was lost, is told that the request was taken before. */
function isTaken (status: string): boolean { return status === 'queued' || status === 'duplicate' }

/** Everything that an ack or a 202 has promised. */
export async function checkAll (t: Test, node: { readonly http: string }, traffic: Traffic): Promise<void> {
  // An ack says that the uplink is in the ledger; the stream has it a moment later.
  await until(async () => await traffic.consumer.readOn(node) >= traffic.acked, 50)
  await t.test('every acked uplink is there exactly once, in order, with the userSeq that its ack named', async t => {
    const { consumer } = traffic
    t.strictSame(consumer.complaints, [])
    for (const { sessionId, acked } of traffic.clients) t.equal(consumer.lastSeq(sessionId), acked.size, sessionId)
  })
  await t.test('every queued downlink has reached the application of every session exactly once, in order', async t => {
    for (const { userId, sessionId, seen } of traffic.clients) {
      const messageIds = seen.map(({ messageId }) => messageId)
      t.strictSame([...messageIds].sort(), [...traffic.queued.get(userId)!].sort(), `${sessionId}: which`)
      t.strictSame(seen.map(({ seq }) => seq), seen.map((_, i) => i + 1), `${sessionId}: seqs`)
    }
    for (const userId of userIds) {
      const [a, b] = traffic.clients.filter(client => client.userId === userId)
      t.strictSame(a!.seen, b!.seen, `${userId}: both devices saw the same`)
    }
  })
  await t.test('no client saw what no client must see', async t => {
    for (const { sessionId, complaints } of traffic.clients) t.strictSame(complaints, [], sessionId)
  })
  await t.test('presence shows the connections that are open, and no others', async t => {
    for (const userId of userIds) {
      const open = traffic.clients.filter(client => client.userId === userId)
      const expected = open.map(({ connected }) => connected?.connectionId).sort()
      let found: string[] = []
      // In a cluster the table follows a moment later.
      for (const end = Date.now() + 60_000; Date.now() < end && String(found) !== String(expected);) {
        const { body } = await request(node, `/v1/users/${userId}/presence`)
        found = body.sessions.map(({ connectionId }: any) => connectionId).sort()
      }
      t.strictSame(found, expected, userId)
    }
  })
}

/** Those of the users of `Traffic` that presence shows online. */
export async function onlineUsers (node: { readonly http: string }): Promise<string[]> {
  const { body } = await request(node, '/v1/presence', { userIds })
  return body.users.filter(({ online }: { online: boolean }) => online).map(({ userId }: { userId: string }) => userId)
}
