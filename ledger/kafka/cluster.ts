import { setTimeout as sleep } from 'node:timers/promises'
import { nameOf, parseAddress, type Address } from './address.js'
import { Connection, type Admission } from './connection.js'
import { metadataWithIds } from './metadata.js'
import { NoAnswer, NotAdmitted, UnsupportedBroker } from './no-answer.js'
import { metadata } from './leader-apis.js'
import { TopicBook } from './topic-book.js'
import { check, describeConfigs, findCoordinator, saslHandshake, unsupportedMechanism, type Metadata } from './wire.js'

const connectMsDefault = 2_000
const questionMs = 3_000
/** Between two looks for who leads what, while errors ask for them; the first comes at once. */
const lookMsMin = 100
const lookMsMax = 1_000

export interface ClusterOptions extends Admission {
  /** For one connection, and for each step of a login. */
  readonly connectMs?: number
}

/** Which broker leads which partition, and the connections to them. */
export class Cluster {
  /** Of the cluster, not of this client; known after the first `refresh`. */
  id = ''
  brokers = 0
  private controller = -1
  private nodes = new Map<number, Address>()
  readonly topics = new TopicBook()
  private readonly connections = new Map<string, Promise<Connection>>()
  private readonly failedAtMs = new Map<string, number>()
  private readonly bootstrap: readonly Address[]
  private refreshing: Promise<void> | undefined
  private looking: Promise<void> | undefined
  private lookMs = lookMsMin
  private lookedAtMs = -Infinity
  private closed = false

  /** @throws RangeError when a broker is not HOST:PORT */
  constructor (brokers: readonly string[], private readonly options: ClusterOptions) {
    this.bootstrap = brokers.map(parseAddress)
  }

  /** How many partitions the topic has; 0 where it is not known. */
  partitions (topic: string): number { return this.topics.partitions(topic) }

  /** The node that leads the partition; undefined while there is none, or none is known. */
  leaderOf (topic: string, partition: number): number | undefined {
    return this.topics.leaderOf(topic, partition)
  }

  /** Which election that one has won; -1 while none is known. */
  leaderEpochOf (topic: string, partition: number): number { return this.topics.leaderEpochOf(topic, partition) }

  get controllerNode (): number { return this.controller }

  /** Of all brokers. */
  get nodeIds (): number[] { return [...this.nodes.keys()] }

  /**
   * The connection to `node` for one kind of requests; those of one lane wait for each other.
   *
   * @throws NoAnswer when there is none, with nothing sent
   */
  async connection (node: number, lane: string): Promise<Connection> {
    const address = this.nodes.get(node)
    if (!address) throw new NoAnswer(`broker ${node} is not known`, false)
    return this.connectionTo(address, lane)
  }

  /**
   * Asks any broker who leads what.
   *
   * @throws NoAnswer, NotAdmitted or UnsupportedBroker when none has answered
   */
  refresh (): Promise<void> {
    this.refreshing ??= this.refreshOnce().finally(() => { this.refreshing = undefined })
    return this.refreshing
  }

  /**
   * Asks again who leads what, for somebody whom an error has told that it may have changed: soon, one at a time and
   * not too often, however many errors there are. Never rejects.
   */
  look (): Promise<void> {
    this.looking ??= this.lookOnce().finally(() => { this.looking = undefined })
    return this.looking
  }

  private async lookOnce (): Promise<void> {
    const quietMs = performance.now() - this.lookedAtMs
    this.lookMs = quietMs > 2 * lookMsMax ? lookMsMin : Math.min(2 * this.lookMs, lookMsMax)
    if (quietMs < this.lookMs) await sleep(this.lookMs - quietMs)
    if (!this.closed) await this.refresh().catch(() => {}) // told by those who need it
    this.lookedAtMs = performance.now()
  }

  /**
   * What the brokers say about topics, known here or not.
   *
   * @param rights with what this user may do, where they are new enough to tell
   */
  describe (topics: readonly string[], rights = false): Promise<Metadata> {
    return this.ask(connection => connection.speaks(metadataWithIds)
      ? connection.send(metadataWithIds, { topics, rights }, questionMs)
      : connection.send(metadata, { topics }, questionMs))
  }

  /**
   * Settings of topics, by topic; those of a topic that may not be described are left out.
   *
   * @throws NoAnswer, NotAdmitted or UnsupportedBroker when no broker has answered
   */
  async settings (topics: readonly string[], names: readonly string[]): Promise<Map<string, Map<string, string>>> {
    const resources = topics.map(name => ({ type: 2 as const, name, configNames: names }))
    const question = { resources, includeSynonyms: false as const }
    const answer = await this.ask(connection => connection.send(describeConfigs, question, questionMs))
    return new Map(answer.resources.filter(({ errorCode }) => errorCode === 0).map(({ resourceName, configEntries }) =>
      [resourceName, new Map(configEntries.map(({ configName, configValue }) => [configName, configValue ?? '']))]))
  }

  /** Any broker, until one has answered. */
  private async ask<T> (question: (connection: Connection) => Promise<T>): Promise<T> {
    let last: unknown = new NoAnswer('the log is closed', false)
    for (const address of this.candidates()) {
      if (this.closed) break
      try {
        const connection = await this.connectionTo(address, 'questions')
        return await question(connection)
      } catch (err) {
        if (err instanceof UnsupportedBroker) throw err
        this.failedAtMs.set(nameOf(address), Date.now())
        if (!(last instanceof NotAdmitted)) last = await this.loginWanted(address, err)
      }
    }
    throw last
  }

  /** The node that keeps the group, or the transactional id. @throws KafkaError while there is none */
  async coordinatorOf (groupId: string, of: 'group' | 'transaction' = 'group'): Promise<number> {
    const address = this.candidates()[0]!
    try {
      const connection = await this.connectionTo(address, 'questions')
      const answer = await connection.send(findCoordinator, { groupId, coordinatorType: of === 'group' ? 0 : 1 }, questionMs)
      check(answer, `coordinator of ${groupId}`)
      return answer.coordinator.nodeId
    } catch (err) {
      if (err instanceof NoAnswer) this.failedAtMs.set(nameOf(address), Date.now())
      throw err
    }
  }

  /** Ends the connections of one lane; what waits on them gets NoAnswer. */
  endLane (lane: string): void {
    for (const [key, connection] of this.connections) {
      if (!key.endsWith(` ${lane}`)) continue
      this.connections.delete(key)
      connection.then(open => open.destroy(new Error('not needed any more')), () => {})
    }
  }

  close (): void {
    this.closed = true
    for (const connection of this.connections.values()) {
      connection.then(open => open.destroy(new Error('the log is closed')), () => {})
    }
    this.connections.clear()
  }

  private async connectionTo (address: Address, lane: string): Promise<Connection> {
    if (this.closed) throw new NoAnswer('the log is closed', false)
    const key = `${nameOf(address)} ${lane}`
    const known = this.connections.get(key)
    if (known) {
      const connection = await known
      if (!connection.closed) return connection
      if (this.connections.get(key) !== known) return this.connectionTo(address, lane)
    }
    const opening = Connection.open(address, this.options, this.options.connectMs ?? connectMsDefault)
    this.connections.set(key, opening)
    try {
      return await opening
    } catch (err) {
      if (this.connections.get(key) === opening) this.connections.delete(key)
      throw err
    }
  }

  /** A broker that wants a login closes the connection at any other question, without a word. */
  private async loginWanted (address: Address, err: unknown): Promise<unknown> {
    if (this.options.sasl || this.closed || !(err instanceof NoAnswer && err.sent)) return err
    try {
      const connection = await this.connectionTo(address, 'questions')
      const { errorCode, enabledMechanisms } = await connection.send(saslHandshake, { mechanism: 'none' }, questionMs)
      if (errorCode !== unsupportedMechanism || enabledMechanisms.length === 0) return err
      return new NotAdmitted(`Kafka broker ${nameOf(address)} wants a login: ` +
        `set KAFKA_SASL_MECHANISM to one of ${enabledMechanisms.join(', ')}`)
    } catch {
      return err
    }
  }

  private async refreshOnce (): Promise<void> {
    const { brokers, clusterId, controllerId, topicMetadata } = await this.describe(this.topics.names)
    this.id = clusterId
    this.brokers = brokers.length
    this.controller = controllerId
    this.nodes = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    this.topics.learn(topicMetadata)
  }

  /** Every broker there is, those that failed last at the end. */
  private candidates (): Address[] {
    const all = new Map([...this.nodes.values(), ...this.bootstrap].map(address => [nameOf(address), address]))
    return [...all.values()].sort((a, b) => this.failureOf(a) - this.failureOf(b))
  }

  private failureOf (address: Address): number { return this.failedAtMs.get(nameOf(address)) ?? 0 }
}
