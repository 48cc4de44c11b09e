import type { Test } from 'tap'
import { startKafka } from '../cluster/kafka.js'
import { startRedis } from '../cluster/redis.js'
import { BusyClient } from './busy-client.js'
import { type NodeProcess, readUplinks, request, startProcess, until } from './node-process.js'

/** 100 users with a phone (TCP, Avro) and a browser (WebSocket, JSON) each. */
const userIds = Array.from({ length: 100 }, (_, i) => `user${i}`)
const uplinkEveryMs = 700
const pushEveryMs = 100

const layout: Readonly<Record<string, string>> = {
  e1: 'edge', e2: 'edge', u1: 'users', u2: 'users', q1: 'push', q2: 'push', p1: 'projections,ip-config',
}

/** A cluster of seven processes, with clients that work and business that goes by `/readyz`. */
export class Deployment {
  readonly clients: readonly BusyClient[]
  /** Message ids by user, in no order. */
  readonly #queued = new Map<string, Set<string>>(userIds.map(userId => [userId, new Set()]))
  /** Answers to pushes other than 202, and requests without any. */
  readonly #failures: string[] = []
  readonly #nodes = new Map<string, NodeProcess>()
  readonly #lines = new Map<string, NodeProcess['lines']>()
  readonly #env: Record<string, string>
  #ready: readonly NodeProcess[] = []
  #paused = false
  #stopped = false
  #requests = 0

  static async start (t: Test): Promise<Deployment> {
    const [kafka, redis] = await Promise.all([startKafka(t), startRedis(t)])
    const deployment = new Deployment(t, {
      KAFKA_BROKERS: kafka.brokers.join(','),
      REDIS_URL: redis.url,
      LEDGERLINE_TOPIC_PREFIX: `drain-${process.pid}`,
      LEDGERLINE_LEASE_MS: '15000',
      LEDGERLINE_DRAIN_MS: '24000',
      LEDGERLINE_STOP_GRACE_MS: '5000',
    })
    await deployment.startNodes(...Object.keys(layout))
    await until(async () => (await deployment.endpoints()).length === 2, 50)
    // Half of the clients on each edge.
    await Promise.all(deployment.clients.map((client, i) => client.open(deployment.node(i % 4 < 2 ? 'e1' : 'e2'))))
    deployment.#work(t)
    await deployment.flows()
    return deployment
  }

  private constructor (readonly t: Test, env: Record<string, string>) {
    this.#env = env
    this.clients = userIds.flatMap(userId => [
      new BusyClient({ userId, deviceId: 'phone', transport: 'tcp', outstanding: 3, everyMs: uplinkEveryMs }),
      new BusyClient({ userId, deviceId: 'browser', transport: 'ws', outstanding: 2, everyMs: uplinkEveryMs }),
    ])
  }

  get cuts (): number { return this.clients.reduce((sum, { cuts }) => sum + cuts, 0) }

  node (name: string): NodeProcess { return this.#nodes.get(name)! }
  linesOf (name: string): NodeProcess['lines'] { return this.#lines.get(name)! }

  async startNodes (...names: string[]): Promise<void> {
    await Promise.all(names.map(async name => {
      const node = await startProcess(this.t, this.t.testdirName, {
        ...this.#env, LEDGERLINE_NODE_ID: name, LEDGERLINE_ROLES: layout[name]!,
      })
      this.#nodes.set(name, node)
      this.#lines.set(name, node.lines)
    }))
  }

  async stop (name: string) {
    const exit = await this.node(name).kill('SIGTERM')
    this.#nodes.delete(name)
    return exit
  }

  /** The report of a drain, once it is over. */
  async drained (t: Test, nodeId: string, drainId: string): Promise<any> {
    let report: any
    await until(async () => {
      report = (await request(this.node('p1'), `/v1/nodes/${nodeId}/drain`)).body
      return report.drainId === drainId && report.state === 'done'
    }, 200)
    t.match(report, { left: report.total, resumed: report.total, uplinksLost: 0, downlinksLost: 0 }, 'nothing is lost')
    t.equal(report.moves.length, report.total, 'each connection is in the report')
    const lossy = report.moves.filter((moved: any) => moved.uplinksLost !== 0 || moved.downlinksLost !== 0)
    t.strictSame(lossy, [], 'and nothing of any of them is lost or unknown')
    const afterMs = report.moves.map(({ afterMs }: any) => afterMs).sort((a: number, b: number) => a - b)
    t.comment(`resumed after ${afterMs[afterMs.length >> 1]} ms in the middle, ${afterMs.at(-1)} ms at most`)
    return report
  }

  async endpoints (): Promise<string[]> {
    return (await request(this.node('p1'), '/v1/ip-config?transport=tcp')).body.endpoints
  }

  /** Waits until every client has been acked something new. */
  async flows (): Promise<void> {
    const before = this.clients.map(({ acked }) => acked.size)
    await until(() => this.clients.every(({ acked }, i) => acked.size > before[i]!), 20)
  }

  /** Lets the traffic come to its end, compares what applications know with what is stored, and goes on. */
  async judge (t: Test): Promise<void> {
    this.#paused = true
    for (const client of this.clients) client.busy = false
    await until(() => this.#requests === 0 && this.clients.every(({ userId, isOpen, unacked, seen }) =>
      isOpen && unacked === 0 && seen.length >= this.#queued.get(userId)!.size), 20)
    const acked = this.clients.reduce((sum, { acked }) => sum + acked.size, 0)
    let uplinks: ReadonlySet<string> = new Set()
    await until(async () => {
      // As docs/protocol.md tells consumers: a takeover may publish again, under the same userSeq.
      const lines = (await readUplinks(this.node('q1'))).map(({ userId, userSeq, sessionId, seq }) =>
        `${userId} ${userSeq} ${sessionId} ${seq}`)
      uplinks = new Set(lines)
      return uplinks.size >= acked
    }, 200)
    t.equal(uplinks.size, acked, 'every acked uplink is stored once, and no other')
    for (const { userId, sessionId, acked, seen, complaints } of this.clients) {
      const wrong = [...acked].filter(([seq, userSeq]) =>
        userSeq !== 0 && !uplinks.has(`${userId} ${userSeq} ${sessionId} ${seq}`))
      if (wrong.length > 0) t.strictSame(wrong, [], `${sessionId}: userSeqs`)
      const messageIds = seen.map(({ messageId }) => messageId).sort()
      const queued = [...this.#queued.get(userId)!].sort()
      if (String(messageIds) !== String(queued)) t.strictSame(messageIds, queued, `${sessionId}: downlinks, each once`)
      const gap = seen.find(({ seq }, i) => seq !== i + 1)
      if (gap || complaints.length > 0) t.strictSame({ gap, complaints }, { gap: undefined, complaints: [] }, sessionId)
    }
    t.strictSame(this.#failures, [], 'no push failed')
    for (const [name, { lines }] of this.#nodes) {
      t.strictSame(lines.filter(({ level }) => level >= 60), [], `${name} logs nothing fatal`)
    }
    this.#paused = false
    for (const client of this.clients) client.busy = true
  }

  /** Business that goes to nodes which say that they are ready, as behind a load balancer; it never tries again. */
  #work (t: Test): void {
    const look = setInterval(async () => {
      const nodes = ['q1', 'q2'].flatMap(name => this.#nodes.get(name) ?? [])
      const states = await Promise.all(nodes.map(node => request(node, '/readyz').then(({ status }) => status, () => 0)))
      this.#ready = nodes.filter((_, i) => states[i] === 200)
    }, 250)
    let i = 0
    const push = setInterval(async () => {
      const node = this.#ready[i++ % Math.max(1, this.#ready.length)]
      if (this.#paused || this.#stopped || !node) return
      const targets = userIds.filter((_, user) => (user + i) % 10 === 0)
      const messageId = `m${i}`
      this.#requests++
      try {
        const command = { to: { userIds: targets }, messageId, payload: 'x' }
        const { status, body } = await request(node, '/v1/downlinks', command)
        if (status !== 202) this.#failures.push(`${status} of ${node.nodeId}`)
        for (const { userId, status } of body.users) if (status === 'queued' || status === 'duplicate') this.#queued.get(userId)!.add(messageId)
      } catch (err) {
        this.#failures.push(`${String(err)} ${String((err as Error).cause)} of ${node.nodeId}`)
      }
      this.#requests--
    }, pushEveryMs)
    t.teardown(() => {
      this.#stopped = true
      clearInterval(look)
      clearInterval(push)
      for (const client of this.clients) client.stop()
    })
  }
}
