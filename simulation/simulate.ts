import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newConnectionId } from '../actors/connection/connection.js'
import type { Books } from '../evidence/audit.js'
import type { Role } from '../gateway/config.js'
import type { RebuildableTables } from '../projections/tables/tables.js'
import { type Address, Api } from './api.js'
import { watchBounds } from './bounds.js'
import { Consumer } from './consumer.js'
import { Device, dialects } from './device.js'
import { EmbeddedStores } from './embedded/stores.js'
import { actionsIn, type FaultName, faultsIn, haveFaults, isFault } from './faults.js'
import { judge, unread } from './judge.js'
import { layout } from './layout.js'
import type { Network } from './network.js'
import { ports, SimulatedNode } from './node.js'
import { Observer } from './observer.js'
import { Operator } from './operator.js'
import { Random } from './random.js'
import { tableFaults } from './rebuilt.js'
import { repeatFault } from './repeats.js'
import { Service } from './service.js'
import { Channel, noStoreTrouble, type SharedStore } from './stores/channel.js'
import { SharedStores, type SimulatedStores } from './stores/stores.js'
import { SimulatedTables, TableStore } from './stores/tables.js'
import type { Trace } from './trace.js'
import type { Host, World } from './world.js'

/** A cluster's stores; one node's, on a disk of its own; or one of both, as the seed says. */
export const plannedStores = ['cluster', 'embedded', 'drawn'] as const
export type PlannedStores = typeof plannedStores[number]

export interface Plan {
  readonly seed: number
  /** Of virtual time in which there is traffic; faults end a quarter of a minute before. */
  readonly minutes: number
  readonly stores: PlannedStores
  /** Of a cluster. */
  readonly nodes: number
  readonly devices: number
  readonly faults: readonly FaultName[]
  /** Ms between two faults, about. */
  readonly faultEveryMs: number
}

export interface Outcome {
  readonly seed: number
  /** What was promised and did not hold, in words; empty where all is well. */
  readonly violations: readonly string[]
  /** The last events of a run in which something did not hold. */
  readonly last: readonly string[]
  /** Of the trace. */
  readonly hash: string
  readonly events: number
  readonly virtualMs: number
  readonly faults: Readonly<Record<string, number>>
  readonly sent: number
  readonly pushed: number
  readonly books: Books | undefined
  /** Lines of level warn and above that nodes logged, without what differs between them. */
  readonly logged: Readonly<Record<string, number>>
}

const jwtSecret = 'the secret of every node in the simulation'
const apiKey = 'the-key-of-every-simulated-node'
const partitions = 4
const devicesPerUser = 2
const quietMs = 15_000
/** Within which all must be well once nothing bad happens any more. */
const healsWithinMs = 240_000
const auditWithinMs = 60_000
const lastMax = 30
/** Between two sends of a device, and two pushes to a user, about. */
const sendEveryMs = 3_000
const pushEveryMs = 2_000

/** One run of a whole cluster in the world of this process, which begins anew. */
export async function simulate (world: World, network: Network, plan: Plan, trace: Trace): Promise<Outcome> {
  const violations: string[] = []
  world.begin(plan.seed, trace)
  network.begin()
  drawConnectionIds(world)
  world.uncaught = (error, { name }) => {
    violations.push(`${name}: nobody caught ${(error as Error).stack ?? String(error)}`)
  }
  const uncaught = (error: unknown): void => { world.uncaught(error, world.current) }
  process.on('uncaughtException', uncaught)
  process.on('unhandledRejection', uncaught)
  const dataDir = mkdtempSync(join(tmpdir(), 'ledgerline-simulation-'))
  try {
    return await new Run(world, network, plan, dataDir, violations).all()
  } finally {
    process.off('uncaughtException', uncaught)
    process.off('unhandledRejection', uncaught)
    rmSync(dataDir, { recursive: true })
  }
}

/** Connection ids come from a pool of the whole process, which must not have those of the run before. */
function drawConnectionIds ({ outside: { random } }: World): void {
  for (const { drawn } = random; random.drawn === drawn;) newConnectionId()
}

function isOneNode ({ stores, seed }: Plan): boolean {
  return stores === 'embedded' || (stores === 'drawn' && new Random(seed, 'stores').chance(0.25))
}

/** What an answer of `/readyz` is not well with. */
function reasonsOf (answer: string): string {
  const [, json] = /^503 (.*)/s.exec(answer) ?? []
  if (json === undefined) return answer
  const { checks } = JSON.parse(json) as { checks: Record<string, { ok: boolean, reason: string }> }
  return Object.entries(checks).flatMap(([name, { ok, reason }]) => ok ? [] : [`${name}: ${reason}`]).join('; ')
}

class Run {
  readonly #stores: SimulatedStores
  readonly #nodes: SimulatedNode[]
  readonly #devices: Device[]
  readonly #service: Service
  readonly #operator: Operator
  readonly #consumer: Consumer
  readonly #observer: Observer
  readonly #pace = { factor: 1 }
  readonly #logged: Record<string, number> = {}

  constructor (
    readonly world: World, readonly network: Network, readonly plan: Plan, readonly dataDir: string,
    readonly violations: string[]
  ) {
    const { seed } = plan
    const random = new Random(seed, 'world')
    const turns = world.outside
    const isEmbedded = isOneNode(plan)
    this.#stores = isEmbedded
      ? new EmbeddedStores({ turns, seed })
      : new SharedStores({
        turns,
        seed,
        nowMs: () => world.nowMs,
        wallMs: () => world.wallMsOf(turns),
        partitions,
        sessionMs: 6_000,
      })
    const stores = this.#stores
    const nodes = isEmbedded ? 1 : plan.nodes
    this.#nodes = layout(random, nodes).map((roles, i) => new SimulatedNode(world, network, stores, {
      id: `n${i + 1}`,
      address: `10.0.0.${i + 1}`,
      roles,
      dataDir: join(dataDir, `n${i + 1}`),
      environment: {
        ...stores.environment,
        LEDGERLINE_PARTITIONS: String(partitions),
        LEDGERLINE_JWT_SECRET: jwtSecret,
        LEDGERLINE_API_KEYS: apiKey,
        LEDGERLINE_DRAIN_MS: '5000',
        LEDGERLINE_STOP_GRACE_MS: '1000',
      },
      logged: (level, text) => { this.#log(`n${i + 1}`, level, text) },
    }))
    const pace = (): number => this.#pace.factor
    const ipConfig = this.#addresses('ip-config').map(({ address, port }) => `http://${address}:${port}/v1/ip-config`)
    this.#operator = new Operator(world, network, {
      address: '10.3.0.2',
      apiKey,
      push: this.#addresses('push'),
      projections: this.#addresses('projections'),
      wallMs: () => world.wallMsOf(world.outside),
      isCalm: !plan.faults.some(isFault),
    })
    this.#devices = Array.from({ length: plan.devices }, (_, i) => new Device(world, network, {
      userId: `u${Math.floor(i / devicesPerUser)}`,
      deviceId: `d${i % devicesPerUser}`,
      address: `10.1.${i >> 8}.${i & 255}`,
      ipConfig,
      jwtSecret,
      dialect: random.pick(dialects),
      tokenMs: random.chance(0.3) ? random.between(20_000, 90_000) : Infinity,
      sendEveryMs,
      pace,
      mayEnd: ({ options: { userId }, kicked }, code) => code === 'kicked'
        ? kicked <= (this.#operator.kicks.get(userId) ?? 0)
        : code === 'banned' && this.#operator.banned.has(userId),
    }))
    this.#service = new Service(world, network, {
      address: '10.3.0.1', apiKey, nodes: this.#addresses('push'), pushEveryMs, pace,
    })
    this.#consumer = new Consumer(world, network, { address: '10.3.0.3', apiKey, nodes: this.#addresses('push') })
    this.#observer = new Observer(world, stores, violation => { violations.push(violation) })
  }

  async all (): Promise<Outcome> {
    const { world, network, plan, violations } = this
    const busyMs = plan.minutes * 60_000
    for (const userId of new Set(this.#devices.map(({ options }) => options.userId))) {
      const own = this.#devices.filter(({ options }) => options.userId === userId)
      this.#service.serve(userId, () => own.every(({ hasConnected }) => hasConnected))
    }
    const stores = this.#stores
    const all = { world, network, nodes: this.#nodes, devices: this.#devices }
    const beyond = watchBounds({ ...all, snapshots: stores instanceof SharedStores ? stores.snapshots : undefined })
    const faults: Record<string, number> = {}
    const possible = {
      faults: faultsIn(all, stores, plan.faults),
      actions: actionsIn({
        ...all,
        service: this.#service,
        operator: this.#operator,
        pace: this.#pace,
        isWhole: stores.isWhole,
        audit: () => { this.#observer.auditInTheMiddle() },
      }, plan.faults),
    }
    for (const [name, each] of Object.entries(possible)) {
      const random = new Random(plan.seed, name)
      haveFaults(world, each, random, plan.faultEveryMs, Math.max(0, busyMs - quietMs), faults)
    }
    await world.run(busyMs)
    for (const device of this.#devices) device.isQuiet = true
    this.#service.isQuiet = true
    const healed = await this.#observer.until(healsWithinMs, () => this.#restless() === undefined)
    if (!healed) violations.push(`${healsWithinMs / 1000} s after the last fault: ${this.#restless()}`)
    await world.run(5_000) // what is coalesced or rides on the next commit
    const books = await this.#audit()
    // By a clock that is a day ahead what was requested before is forgotten, and its repeat is a new request.
    const repeats = books && !faults['clock'] && await this.#observer.work(log => repeatFault(log, books))
    if (repeats) violations.push(repeats)
    await this.#judge()
    await this.#areReady()
    violations.push(...beyond)
    return {
      seed: plan.seed,
      violations,
      last: violations.length === 0 ? [] : world.trace.last().slice(-lastMax),
      hash: world.trace.hash(),
      events: world.events,
      virtualMs: world.nowMs,
      faults,
      sent: this.#devices.reduce((sum, { sent }) => sum + sent.size, 0),
      pushed: [...this.#service.queued.values()].reduce((sum, { length }) => sum + length, 0),
      books,
      logged: this.#logged,
    }
  }

  /** Where requests go that a role answers. */
  #addresses (role: Role): Address[] {
    return this.#nodes.filter(({ options }) => options.roles.includes(role))
      .map(({ options: { address } }) => ({ address, port: ports.http }))
  }

  /** Who is not where all should be in the end; undefined for nobody. */
  #restless (): string | undefined {
    const down = this.#nodes.find(node => !node.isUp)
    if (down) return `${down.options.id} is not up`
    const away = this.#devices.find(({ isConnected }) => !isConnected)
    if (away) return `${away.name} is not connected`
    const waiting = this.#devices.find(({ unacked }) => unacked > 0)
    if (waiting) return `${waiting.name} has ${waiting.unacked} uplinks without an ack`
    if (this.#service.pending > 0) return 'a push has no answer'
    const [unanswered] = this.#operator.pending
    if (unanswered !== undefined) return `an operator who ${unanswered} has no answer`
    if (this.#observer.isAuditing) return 'an audit goes on'
    for (const device of this.#devices) {
      const queued = this.#service.queued.get(device.options.userId)!
      const seen = new Set(device.runs.flatMap(({ seen }) => seen))
      const missed = device.runs.reduce((sum, { missed }) => sum + missed, 0)
      const lacking = queued.filter(messageId => !seen.has(messageId))
      if (lacking.length > missed) {
        return `${device.name} has not got ${lacking.slice(0, 3).join(', ')}, ${lacking.length} in all, and missed ${missed}`
      }
    }
    return undefined
  }

  async #audit (): Promise<Books | undefined> {
    let audited: Awaited<ReturnType<Observer['audit']>>
    const isDone = await this.#observer.until(auditWithinMs, async () => {
      audited = await this.#observer.audit()
      return audited !== undefined && this.#openItems(audited.books) === undefined
    })
    if (!isDone) this.violations.push(`the books: ${audited ? this.#openItems(audited.books) : 'could not be read'}`)
    this.violations.push(...audited?.violations ?? [])
    return audited?.books
  }

  /** What is not settled in the books, though every device is connected and has all; undefined for nothing. */
  #openItems ({ uplinks, downlinks, connections }: Books): string | undefined {
    if (uplinks.due > 0) return `${uplinks.due} uplinks are not in their stream`
    if (connections.due > 0) return `${connections.due} connections are not in their stream`
    if (downlinks.waiting > 0) return `${downlinks.waiting} downlinks wait, and every device has had its own`
    const open = connections.open + connections.closing
    if (open !== this.#devices.length) return `${open} connections are open, of ${this.#devices.length} devices`
    return undefined
  }

  /** What applications, services and tables have, against what was promised. */
  async #judge (): Promise<void> {
    const published = await this.#observer.published()
    this.violations.push(...judge(this.#devices, this.#service, this.#operator, published))
    const hasRead = await this.#observer.until(healsWithinMs, () => unread(this.#consumer, published) === undefined)
    if (!hasRead) this.violations.push(unread(this.#consumer, published)!)
    this.violations.push(...this.#consumer.complaints)
    this.violations.push(...await this.#observer.work(async (log, tables, host) =>
      await tableFaults(log, tables, this.#emptyTables(host), host)) ?? [])
    this.violations.push(...this.#stores.complaints)
  }

  #emptyTables (host: Host): RebuildableTables {
    const { world, plan: { seed } } = this
    const store: SharedStore = {
      turns: world.outside,
      random: new Random(seed, 'rebuild'),
      nowMs: () => world.nowMs,
      trouble: noStoreTrouble,
      cutOff: new Set(),
    }
    return new SimulatedTables(new TableStore(store), new Channel(store, host, 'rebuild'))
  }

  async #areReady (): Promise<void> {
    for (const { options: { id, address } } of this.#nodes) {
      const ready = async (): Promise<string> => await this.#observer.work(async (_log, _tables, host) => {
        const { status, text } = await new Api(host, apiKey).ask({ address, port: ports.http }, 'GET', '/readyz')
        return `${status} ${text}`
      }) ?? 'no answer'
      const isReady = await this.#observer.until(healsWithinMs, async () => (await ready()).startsWith('200'))
      if (!isReady) this.violations.push(`${id} is not ready: ${reasonsOf(await ready())}`)
    }
  }

  #log (id: string, level: number, said: string): void {
    // Its name is drawn by the machine, not by the seed.
    const text = said.replaceAll(this.dataDir, 'DATA')
    const what = `${level} ${text.replace(/\d+/g, '#')}`
    this.#logged[what] = (this.#logged[what] ?? 0) + 1
    this.world.trace.add(`${this.world.nowUs} ${id} logs ${level} ${text}`)
  }
}
