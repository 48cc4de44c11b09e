import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newConnectionId } from '../actors/connection/connection.js'
import { audit, type Books, type Violation } from '../evidence/audit.js'
import type { EventLog } from '../ledger/log.js'
import type { RebuildableTables } from '../projections/tables/tables.js'
import { uplinks } from '../schemas/streams.js'
import { Device } from './device.js'
import { EmbeddedStores } from './embedded/stores.js'
import { type FaultName, faultsIn, haveFaults } from './faults.js'
import { judge, type Published } from './judge.js'
import type { Network } from './network.js'
import { ports, SimulatedNode } from './node.js'
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
const sliceMs = 500
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
  readonly #logged: Record<string, number> = {}

  constructor (
    readonly world: World, readonly network: Network, readonly plan: Plan, dataDir: string,
    readonly violations: string[]
  ) {
    const { seed } = plan
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
    this.#nodes = Array.from({ length: nodes }, (_, i) => new SimulatedNode(world, network, stores, {
      id: `n${i + 1}`,
      address: `10.0.0.${i + 1}`,
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
    const ipConfig = this.#nodes.map(({ options: { address } }) => `http://${address}:${ports.http}/v1/ip-config`)
    this.#devices = Array.from({ length: plan.devices }, (_, i) => new Device(world, network, {
      userId: `u${Math.floor(i / devicesPerUser)}`,
      deviceId: `d${i % devicesPerUser}`,
      address: `10.1.${i >> 8}.${i & 255}`,
      ipConfig,
      jwtSecret,
      sendEveryMs,
    }))
    this.#service = new Service(world, network, {
      address: '10.3.0.1',
      apiKey,
      nodes: this.#nodes.map(({ options: { address } }) => ({ address, port: ports.http })),
      pushEveryMs,
    })
  }

  async all (): Promise<Outcome> {
    const { world, network, plan, violations } = this
    const busyMs = plan.minutes * 60_000
    for (const userId of new Set(this.#devices.map(({ options }) => options.userId))) {
      const own = this.#devices.filter(({ options }) => options.userId === userId)
      this.#service.serve(userId, () => own.every(({ hasConnected }) => hasConnected))
    }
    const possible = faultsIn({ world, network, nodes: this.#nodes, devices: this.#devices }, this.#stores, plan.faults)
    const faults = haveFaults(
      world, possible, new Random(plan.seed, 'faults'), plan.faultEveryMs, Math.max(0, busyMs - quietMs))
    await world.run(busyMs)
    for (const device of this.#devices) device.isQuiet = true
    this.#service.isQuiet = true
    const healed = await this.#until(healsWithinMs, () => this.#restless() === undefined)
    if (!healed) violations.push(`${healsWithinMs / 1000} s after the last fault: ${this.#restless()}`)
    await world.run(5_000) // what is coalesced or rides on the next commit
    const books = await this.#audit()
    const repeats = books && await this.#inWorld(log => repeatFault(log, books))
    if (repeats !== undefined) violations.push(repeats)
    const published = await this.#inWorld(log => this.#published(log))
    violations.push(...judge(this.#devices, this.#service, published ?? []))
    violations.push(...await this.#inWorld(async (log, tables, host) =>
      await tableFaults(log, tables, this.#emptyTables(host), host)) ?? [])
    violations.push(...this.#stores.complaints)
    for (const { options: { id, address } } of this.#nodes) {
      const ready = async (): Promise<string> =>
        await this.#inWorld(() => this.#service.get({ address, port: ports.http }, '/readyz')) ?? 'no answer'
      const isReady = await this.#until(healsWithinMs, async () => (await ready()).startsWith('200'))
      if (!isReady) violations.push(`${id} is not ready: ${reasonsOf(await ready())}`)
    }
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

  /** Who is not where all should be in the end; undefined for nobody. */
  #restless (): string | undefined {
    const down = this.#nodes.find(node => !node.isUp)
    if (down) return `${down.options.id} is not up`
    const away = this.#devices.find(({ isConnected }) => !isConnected)
    if (away) return `${away.name} is not connected`
    const waiting = this.#devices.find(({ unacked }) => unacked > 0)
    if (waiting) return `${waiting.name} has ${waiting.unacked} uplinks without an ack`
    if (this.#service.pending > 0) return 'a push has no answer'
    for (const device of this.#devices) {
      const queued = this.#service.queued.get(device.options.userId)!
      const seen = new Set(device.runs.flatMap(({ seen }) => seen))
      const missed = device.runs.reduce((sum, { missed }) => sum + missed, 0)
      const lacking = queued.filter(messageId => !seen.has(messageId))
      if (lacking.length > missed) return `${device.name} has not got ${lacking.slice(0, 3).join(', ')}, ${lacking.length} in all`
    }
    return undefined
  }

  async #audit (): Promise<Books | undefined> {
    const found: Violation[] = []
    let books: Books | undefined
    const isDone = await this.#until(auditWithinMs, async () => {
      found.splice(0)
      const violation = (each: Violation): void => { found.push(each) }
      books = await this.#inWorld(log => audit(log, { exact: this.#stores.isExact, violation }))
      return books !== undefined && this.#openItems(books) === undefined
    })
    if (!isDone) this.violations.push(`the books: ${books ? this.#openItems(books) : 'could not be read'}`)
    for (const { code, text, positions } of found) this.violations.push(`audit: ${code}: ${text} (${positions.join(', ')})`)
    return books
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

  async #published (log: EventLog): Promise<Published[]> {
    const all: Published[] = []
    for (let partition = 0; partition < partitions; partition++) {
      for await (const { items } of log.read(uplinks, partition, { from: 0n })) {
        all.push(...items.map(({ payload, userSeq }) => ({ payload: Buffer.from(payload).toString(), userSeq })))
      }
    }
    return all
  }

  /** Work of a host that looks at the log from outside, while the world goes on. */
  async #inWorld<T> (
    work: (log: EventLog, tables: RebuildableTables, host: Host) => Promise<T>
  ): Promise<T | undefined> {
    const { world } = this
    const host = world.host('auditor', '10.4.0.1')
    let outcome: { readonly value: T | undefined } | undefined
    host.later(0, 'looks at the log', () => {
      const looking = this.#stores.look(host, (log, tables) => work(log, tables, host))
      looking.then(value => { outcome = { value } }, (err: Error) => {
        this.violations.push(`the log could not be read: ${err.message}`)
        outcome = { value: undefined }
      })
    })
    await this.#until(auditWithinMs, () => outcome !== undefined)
    return outcome?.value
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

  async #until (withinMs: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
    for (const endMs = this.world.nowMs + withinMs; this.world.nowMs < endMs;) {
      if (await condition()) return true
      await this.world.run(sliceMs)
    }
    return await condition()
  }

  #log (id: string, level: number, text: string): void {
    const what = `${level} ${text.replace(/\d+/g, '#')}`
    this.#logged[what] = (this.#logged[what] ?? 0) + 1
    this.world.trace.add(`${this.world.nowUs} ${id} logs ${level} ${text}`)
  }
}
