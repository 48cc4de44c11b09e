import type { Counter, Gauge, Registry } from 'prom-client'
import type { EdgeCounters } from '../actors/connection/edge-context.js'
import type { Timed } from '../actors/connection/stopwatch.js'
import type { DownlinkOutcome } from '../actors/user/effects.js'
import type { Circuit, CircuitState } from '../ledger/circuit.js'
import type { AuthOutcome } from './auth/service.js'
import type { DrainCounters } from './drain.js'
import type { GroupLags } from './groups/group-lags.js'
import type { Admission } from './http/auth.js'
import { type Declared, declared } from './metrics/declared.js'
import { countedElsewhere, counter, gauge, histogram, newRegistry } from './metrics/registered.js'
import { SampleBudget } from './metrics/samples.js'
import type { Listener } from './server-tls.js'
import type { Counted } from '../schemas/node-facts.js'
import { downlinks } from '../schemas/streams.js'
import type { LogObserver } from './stores.js'

export interface MetricsSources {
  connections (): number
  /** 0 without an edge. */
  readonly connectionsMax: number
  activeUsers (): number
  activeRooms (): number
  /** Share of the memory that there may be, 0 to 1. */
  memoryPressure (): number
  /** Read from sockets and not dealt with. */
  intakeBytes (): number
  /** Broadcasts that this node is carrying out. */
  broadcasts (): number
  /** Rooms that this node has members of, or had until just now, and bytes of their posts that it keeps. */
  rooms (): number
  roomBytes (): number
  /** What an uplink waits for the process between its read and its fold, in the mean. */
  overloadWaitSeconds (): number
  /** Priorities that are refused, from the lowest on, and of the next one the share of users. */
  heldConnections (): number
  admissionLevel (): number
  /** Blocks that each table is behind the ledger. */
  tableLag (): ReadonlyMap<string, number>
  /** How long each health condition has lasted, 0 for those that are well. */
  conditionSeconds (): ReadonlyMap<string, number>
  circuits (): readonly Circuit[]
}

interface GroupsSource {
  readonly acks: number
  load (): { readonly readers: number, readonly unackedBytes: number }
}

type ByApp = () => ReadonlyMap<string, number>

/** Codes of commands that will never be sent. */
const commandEnds = ['bad-request', 'payload-too-large', 'room-closed', 'internal', 'bad-record'] as const

/** What the partitions go on without; `<stream>.rejected` says which and why. */
export type SetAside = typeof setAsides[number]
const setAsides = [
  'entry', 'user', 'uplink', 'presence', 'receipt', 'hand-over', 'room-entry', 'room', 'post', 'connection', 'report',
] as const

const circuitStates: Readonly<Record<CircuitState, number>> = { closed: 0, 'half-open': 1, open: 2 }

/** Plain numbers for the hot path; Prometheus reads them when it asks. metrics/declared.ts says what each means. */
export class GatewayMetrics {
  readonly registry: Registry = newRegistry()
  readonly edge: EdgeCounters
  readonly log: LogObserver
  /** Of the drain that runs or ran last. */
  readonly drain: DrainCounters = {
    percent: 0, remaining: 0, asked: 0, left: 0, closed: 0, resumed: 0, uplinksLost: 0, downlinksLost: 0,
  }

  readonly #closed = counter(this.registry, declared.connectionsClosed)
  readonly #uplinksRefused = counter(this.registry, declared.uplinksRefused)
  readonly #settled = counter(this.registry, declared.downlinksSettled)
  readonly #refused = counter(this.registry, declared.socketsRefused)
  readonly #tlsFailed = counter(this.registry, declared.tlsFailed)
  readonly #headersRefused = counter(this.registry, declared.proxyHeadersRefused)
  readonly #tokensAsked = counter(this.registry, declared.authTokens)
  readonly #commandsRejected = counter(this.registry, declared.commandsRejected)
  readonly #setAside = counter(this.registry, declared.setAside)
  readonly #requests = counter(this.registry, declared.apiRequests)
  readonly #ack = histogram(this.registry, declared.uplinkAck)
  readonly #ackLog = histogram(this.registry, declared.uplinkLog)
  readonly #ackAccess = histogram(this.registry, declared.uplinkAccess)

  /** @param version of this build, as package.json has it */
  constructor (version: string) {
    this.#gauge(declared.buildInfo, gauge => { gauge.set({ version }, 1) })
    this.edge = this.#edgeCounters()
    this.log = this.#logObserver()
    this.#drains()
    for (const code of commandEnds) this.#commandsRejected.inc({ code }, 0)
    for (const what of setAsides) this.#setAside.inc({ what }, 0) // a rise from nothing is none to Prometheus
  }

  readonly uplinkTimed = ({ logMs, accessMs }: Timed): void => {
    this.#ack.observe((logMs + accessMs) / 1_000)
    this.#ackLog.observe(logMs / 1_000)
    this.#ackAccess.observe(accessMs / 1_000)
  }

  readonly socketRefused = (code: string): void => { this.#refused.inc({ code }) }

  readonly tlsFailed = (listener: Listener): void => { this.#tlsFailed.inc({ listener }) }

  readonly requestCounted = (key: string, admission: Admission): void => { this.#requests.inc({ key, admission }) }

  readonly proxyHeaderRefused = (listener: Listener): void => { this.#headersRefused.inc({ listener }) }

  readonly tokenAsked = (outcome: AuthOutcome): void => { this.#tokensAsked.inc({ outcome }) }

  readonly settled = ({ outcome, reason }: DownlinkOutcome): void => { this.#settled.inc({ outcome, reason }) }

  readonly commandRejected = (code: string): void => { this.#commandsRejected.inc({ code }) }

  readonly setAside = (what: SetAside): void => { this.#setAside.inc({ what }) }

  /** What this node has counted, for its reports; what it has not met yet is left out. */
  async counted (): Promise<Counted[]> {
    const { uplinks, downlinks, signals, posts } = this.edge
    const whole = Object.entries({ uplinks, downlinks, signals, posts }).map(([what, count]) => ({ what, code: '', count }))
    const byCode = await Promise.all([
      countedBy('refused', this.#uplinksRefused, ({ code }) => code),
      countedBy('ended', this.#closed, ({ code }) => code),
      countedBy('settled', this.#settled, ({ outcome, reason }) => reason || outcome),
    ])
    return [...whole, ...byCode.flat()].filter(({ count }) => count > 0)
  }

  /** Adds what is known once the parts of the node have started. */
  observe (sources: MetricsSources): void {
    const numbers = [
      [declared.connections, sources.connections],
      [declared.connectionsMax, () => sources.connectionsMax],
      [declared.activeUsers, sources.activeUsers],
      [declared.activeRooms, sources.activeRooms],
      [declared.memoryPressure, sources.memoryPressure],
      [declared.intakeBytes, sources.intakeBytes],
      [declared.broadcasts, sources.broadcasts],
      [declared.rooms, sources.rooms],
      [declared.roomBytes, sources.roomBytes],
      [declared.overloadWait, sources.overloadWaitSeconds],
      [declared.heldConnections, sources.heldConnections],
      [declared.admissionLevel, sources.admissionLevel],
    ] as const
    for (const [which, value] of numbers) this.#gauge(which, gauge => { gauge.set(value()) })
    this.#gauge(declared.tableLag, gauge => {
      for (const [table, blocks] of sources.tableLag()) gauge.set({ table }, blocks)
    })
    this.#gauge(declared.conditionSeconds, gauge => {
      for (const [condition, seconds] of sources.conditionSeconds()) gauge.set({ condition }, seconds)
    })
    this.#circuits(() => sources.circuits())
  }

  /** Adds what is read in groups (`GET /v1/streams/:stream?group=`). */
  observeGroups (groups: GroupsSource, lags: Pick<GroupLags, 'latest'>): void {
    this.#gauge(declared.groupReaders, gauge => { gauge.set(groups.load().readers) })
    this.#gauge(declared.groupUnackedBytes, gauge => { gauge.set(groups.load().unackedBytes) })
    this.#gauge(declared.groupLagBlocks, gauge => {
      for (const { app, group, stream, blocks } of lags.latest()) gauge.set({ app, group, stream }, blocks)
    })
    this.#gauge(declared.groupLag, gauge => {
      for (const { app, group, stream, ms } of lags.latest()) gauge.set({ app, group, stream }, ms / 1_000)
    })
    this.#reads(declared.groupAcks, () => groups.acks)
  }

  /** @param lost how many spans came to nothing */
  observeSpans (lost: () => number): void {
    this.#reads(declared.spansLost, lost)
  }

  /** Adds what each app has, for a node that has several. */
  observeApps ({ connections, uplinks, downlinks }: Record<'connections' | 'uplinks' | 'downlinks', ByApp>): void {
    this.#gauge(declared.appConnections, gauge => {
      for (const [app, count] of connections()) gauge.set({ app }, count)
    })
    for (const [which, counts] of [[declared.appUplinks, uplinks], [declared.appDownlinks, downlinks]] as const) {
      countedElsewhere(this.registry, which, counter => {
        for (const [app, count] of counts()) counter.inc({ app }, count)
      })
    }
  }

  #edgeCounters (): EdgeCounters {
    const delivery = histogram(this.registry, declared.downlinkDelivery)
    const ack = histogram(this.registry, declared.downlinkAck)
    const budget = new SampleBudget()
    const edge: EdgeCounters = {
      uplinks: 0,
      downlinks: 0,
      signals: 0,
      posts: 0,
      slowFrames: 0,
      broadcastsSent: 0,
      broadcastsSlow: 0,
      downlinkDelivered: ms => { if (budget.take()) delivery.observe(ms / 1_000) },
      downlinkAcked: ms => { if (budget.take()) ack.observe(ms / 1_000) },
      refused: code => { this.#uplinksRefused.inc({ code }) },
      closed: code => { this.#closed.inc({ code }) },
    }
    this.#reads(declared.uplinks, () => edge.uplinks)
    this.#reads(declared.downlinks, () => edge.downlinks)
    this.#reads(declared.signals, () => edge.signals)
    this.#reads(declared.roomPosts, () => edge.posts)
    this.#reads(declared.broadcastSignals, () => edge.broadcastsSent)
    this.#reads(declared.broadcastSlow, () => edge.broadcastsSlow)
    this.#reads(declared.slowFrames, () => edge.slowFrames)
    return edge
  }

  #logObserver (): LogObserver {
    const append = histogram(this.registry, declared.append)
    const commit = histogram(this.registry, declared.commit)
    const budget = new SampleBudget()
    return {
      appended: ms => { if (budget.take()) append.observe(ms / 1_000) },
      committed: ms => { if (budget.take()) commit.observe(ms / 1_000) },
      rejected: stream => { if (stream === downlinks.name) this.commandRejected('bad-record') },
    }
  }

  /** Of several circuits to one dependency the worst state, and what they have counted together. */
  #circuits (circuits: () => readonly Circuit[]): void {
    this.#gauge(declared.circuitState, gauge => {
      const worst = new Map<string, number>()
      for (const { dependency, state } of circuits()) {
        worst.set(dependency, Math.max(worst.get(dependency) ?? 0, circuitStates[state]))
      }
      for (const [dependency, value] of worst) gauge.set({ dependency }, value)
    })
    for (const [which, count] of [
      [declared.circuitOpened, ({ opened }: Circuit) => opened],
      [declared.circuitRefused, ({ refused }: Circuit) => refused],
    ] as const) {
      countedElsewhere(this.registry, which, counter => {
        for (const circuit of circuits()) counter.inc({ dependency: circuit.dependency }, count(circuit))
      })
    }
  }

  /** Gauges, not counters: each drain begins at 0. */
  #drains (): void {
    const { drain } = this
    this.#gauge(declared.drain, gauge => { gauge.set(drain.percent / 100) })
    this.#gauge(declared.drainConnections, gauge => {
      for (const state of ['remaining', 'asked', 'left', 'closed', 'resumed'] as const) gauge.set({ state }, drain[state])
    })
    this.#gauge(declared.drainMessagesLost, gauge => {
      gauge.set({ kind: 'uplink' }, drain.uplinksLost)
      gauge.set({ kind: 'downlink' }, drain.downlinksLost)
    })
  }

  /** A counter whose number is kept elsewhere. */
  #reads (which: Declared<never>, value: () => number): void {
    countedElsewhere(this.registry, which, counter => { counter.inc(value()) })
  }

  #gauge<L extends string> (which: Declared<L>, collect: (gauge: Gauge<L>) => void): void {
    gauge(this.registry, which, collect)
  }
}

async function countedBy<L extends string> (
  what: string, counter: Counter<L>, codeOf: (labels: Partial<Record<L, string | number>>) => unknown
): Promise<Counted[]> {
  const counts = new Map<string, number>()
  for (const { labels, value } of (await counter.get()).values) {
    const code = String(codeOf(labels))
    counts.set(code, (counts.get(code) ?? 0) + value)
  }
  return [...counts].map(([code, count]) => ({ what, code, count }))
}
