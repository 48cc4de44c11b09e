import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { kafkaMissing, startKafka, type TestKafka } from '../cluster/kafka.js'
import { redisMissing, startRedis, type TestRedis } from '../cluster/redis.js'
import { errors } from '../../schemas/errors.js'
import { auditOfTopics } from './audit.js'
import { type Exit, type NodeProcess, randomFrom, request, startProcess, until } from './node-process.js'
import { checkAll, Traffic } from './traffic.js'

export const leaseMs = 3_000

/** No judge of speed, but of whether it comes to it at all. */
const healsWithinMs = 120_000

/** One line that says what to install for the tests of a cluster; false where they can run. */
export const missing = kafkaMissing() ?? redisMissing() ?? false

/** What the nodes of these tests are called, and do. */
const layout = {
  e1: 'edge', e2: 'edge', u1: 'users,push', u2: 'users,push', p1: 'projections,ip-config',
}

export type NodeName = keyof typeof layout

/** A client in a cluster meets nodes that are full, cut off or gone; whatever it may try again, it may see. */
const tolerated: ReadonlySet<string> = new Set(
  Object.entries(errors).filter(([, { retry }]) => retry).map(([code]) => code))

let clusters = 0

/** Five nodes in processes of their own, over a real Kafka and a real Redis, with clients that never rest. */
export class TestCluster {
  readonly nodes = new Map<NodeName, NodeProcess>()
  readonly traffic: Traffic
  readonly prefix = `faults-${process.pid}-${++clusters}`
  readonly #env: Record<string, string>

  /** @param options.redis by default one of its own; `env` may name another way to it */
  static async start (t: Test, options: {
    brokers?: 1 | 3, env?: Record<string, string>, redis?: TestRedis
  } = {}): Promise<TestCluster> {
    const { brokers = 1, env = {} } = options
    const [kafka, redis] = await Promise.all([startKafka(t, { brokers }), options.redis ?? startRedis(t)])
    const cluster = new TestCluster(t, kafka, redis, env)
    await cluster.startNodes(...Object.keys(layout) as NodeName[])
    await cluster.traffic.flows()
    return cluster
  }

  private constructor (
    readonly t: Test, readonly kafka: TestKafka, readonly redis: TestRedis, env: Record<string, string>
  ) {
    const seed = Number(process.env['LEDGERLINE_TEST_SEED'] ?? Math.trunc(Math.random() * 2 ** 31))
    this.#env = {
      KAFKA_BROKERS: kafka.brokers.join(','),
      REDIS_URL: redis.url,
      LEDGERLINE_TOPIC_PREFIX: this.prefix,
      LEDGERLINE_LEASE_MS: `${leaseMs}`,
      ...env,
    }
    this.traffic = new Traffic(t, randomFrom(seed), tolerated)
    // So many that an outage of a minute does not fill an outbox.
    this.traffic.pushEveryMs = 100
    this.traffic.reconnectAfterMs(10_000)
    t.teardown(() => { this.#keepLogs() })
  }

  node (name: NodeName): NodeProcess { return this.nodes.get(name)! }

  async startNodes (...names: NodeName[]): Promise<void> {
    await Promise.all(names.map(async name => {
      this.nodes.set(name, await startProcess(this.t, this.t.testdirName, {
        ...this.#env, LEDGERLINE_NODE_ID: name, LEDGERLINE_ROLES: layout[name],
      }))
    }))
    this.#route()
  }

  /** For whoever looks into a failure: what each node has logged, in the directory that LEDGERLINE_TEST_LOGS names. */
  #keepLogs (): void {
    const directory = process.env['LEDGERLINE_TEST_LOGS']
    if (!directory) return
    mkdirSync(directory, { recursive: true })
    for (const [name, { lines }] of this.nodes) {
      writeFileSync(join(directory, `${this.prefix}-${name}.log`), lines.map(line => JSON.stringify(line)).join('\n'))
    }
  }

  async kill (name: NodeName, signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    const node = this.node(name)
    this.nodes.delete(name)
    this.#route()
    return await node.kill(signal)
  }

  /** Waits until every client is acked again, and tells how long that took. */
  async heals (t: Test): Promise<void> {
    const startMs = performance.now()
    await this.traffic.flows(healsWithinMs)
    t.pass(`acks flow to every client after ${Math.round(performance.now() - startMs)} ms`)
  }

  /** Lets the traffic come to its end, judges it by what is stored, and lets it go on. */
  async judge (t: Test): Promise<void> {
    await this.traffic.pause()
    await checkAll(t, { http: this.#push()!.http }, this.traffic)
    for (const [name, { lines }] of this.nodes) {
      t.strictSame(lines.filter(({ level }) => level >= 60).map(line => line['err']?.stack ?? line.msg), [], `${name} logs nothing fatal`)
    }
    this.traffic.resume()
  }

  /** The last step: what the whole test has left in the topics. */
  async audit (t: Test): Promise<void> {
    await this.traffic.pause()
    await auditOfTopics(t, this.kafka.brokers, this.prefix)
    this.traffic.resume()
  }

  /** What presence says of the node on which each connection of the traffic is. */
  async presenceMoved (from: NodeName): Promise<void> {
    const ids = new Set(this.traffic.clients.map(({ userId }) => userId))
    await until(async () => {
      const answers = await Promise.all([...ids].map(async userId =>
        (await this.ask(`/v1/users/${userId}/presence`)).sessions))
      return answers.every(sessions => sessions.length > 0 && sessions.every(({ nodeId }: any) => nodeId !== from))
    }, 50)
  }

  async ask (path: string): Promise<any> {
    return (await request({ http: this.#push()!.http }, path)).body
  }

  #push (): NodeProcess | undefined { return this.nodes.get('u1') ?? this.nodes.get('u2') }

  #route (): void {
    const edges = (['e1', 'e2'] as const).flatMap(name => this.nodes.get(name) ?? [])
    this.traffic.goTo(edges, this.#push())
  }
}
