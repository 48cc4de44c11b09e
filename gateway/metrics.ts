import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { EdgeCounters } from '../actors/connection/connection.js'
import type { DownlinkOutcome } from '../actors/user/effects.js'
import type { Circuit, CircuitState } from '../ledger/circuit.js'
import type { NodeCounts } from './console/load-history.js'
import type { AuthOutcome } from './auth/service.js'
import type { DrainCounters } from './drain.js'
import type { Admission } from './http/auth.js'
import type { Listener } from './server-tls.js'

export interface MetricsSources {
  connections (): number
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
  admissionLevel (): number
  /** Blocks that each table is behind the ledger. */
  tableLag (): ReadonlyMap<string, number>
  commitSeconds (): number
  /** How long each health condition has lasted, 0 for those that are well. */
  conditionSeconds (): ReadonlyMap<string, number>
  circuits (): readonly Circuit[]
}

interface GroupsSource {
  readonly acks: number
  load (): { readonly readers: number, readonly unackedBytes: number }
}

type ByApp = () => ReadonlyMap<string, number>

/** What the partitions go on without; `<stream>.rejected` says which and why. */
export type SetAside = 'entry' | 'user' | 'uplink' | 'presence' | 'receipt' | 'hand-over' | 'room-entry' | 'room' | 'post'

const circuitStates: Readonly<Record<CircuitState, number>> = { closed: 0, 'half-open': 1, open: 2 }

/** 0.1 ms to 1.6 s, a quarter more each: a quantile between two of them is off by an eighth at most. */
const secondsBuckets = Array.from({ length: 44 }, (_, i) => Number((0.0001 * 1.25 ** i).toPrecision(3)))

/** Plain numbers for the hot path; Prometheus reads them when it asks. */
export class GatewayMetrics {
  readonly registry = new Registry()
  readonly edge: EdgeCounters
  /** Of the drain that runs or ran last. */
  readonly drain: DrainCounters = {
    percent: 0, remaining: 0, asked: 0, left: 0, closed: 0, resumed: 0, uplinksLost: 0, downlinksLost: 0,
  }

  readonly #closed: Counter
  readonly #uplinksRefused: Counter
  readonly #settled: Counter
  readonly #refused: Counter
  readonly #tlsFailed: Counter
  readonly #headersRefused: Counter
  readonly #tokensAsked: Counter
  readonly #setAside: Counter
  readonly #requests: Counter
  readonly #log: Histogram
  readonly #access: Histogram

  constructor () {
    const closed = this.#counter('connections_closed_total', 'Connections ended, by code (docs/errors.md)', ['code'])
    const refused = this.#counter('uplinks_refused_total', 'Times that a client was told uplinkRefused, by code', ['code'])
    this.#closed = closed
    this.#uplinksRefused = refused
    this.#refused = this.#counter('sockets_refused_total', 'Sockets and upgrades that the door did not let in, by code', ['code'])
    this.#tlsFailed = this.#counter('tls_handshakes_failed_total', 'Clients that did not get through TLS', ['listener'])
    this.#headersRefused = this.#counter('proxy_headers_refused_total',
      'PROXY headers that were bad, missing, or from an address that is not trusted', ['listener'])
    this.#tokensAsked = this.#counter('auth_tokens_total', 'Tokens that LEDGERLINE_AUTH_URL judges, by what came of it', ['outcome'])
    this.#settled = this.#counter('downlinks_settled_total', 'How durable downlinks ended', ['outcome', 'reason'])
    this.#setAside = this.#counter('set_aside_total', 'What no user or room could take: entries, users, uplinks, rooms, posts', ['what'])
    this.#requests = this.#counter('api_requests_total',
      'Requests that want an API key, by its id (empty: of the environment, or unknown) and what became of them', ['key', 'admission'])
    this.edge = {
      uplinks: 0,
      downlinks: 0,
      signals: 0,
      posts: 0,
      slowFrames: 0,
      broadcastsSent: 0,
      broadcastsSlow: 0,
      refused: code => { refused.inc({ code }) },
      closed: code => { closed.inc({ code }) },
    }
    const { edge } = this
    this.#reads('uplinks_total', 'Uplinks given to the ledger', () => edge.uplinks)
    this.#reads('downlinks_total', 'Downlink frames written', () => edge.downlinks)
    this.#reads('signals_total', 'Signal frames written', () => edge.signals)
    this.#reads('room_posts_total', 'Posts written to members of rooms', () => edge.posts)
    this.#reads('broadcast_signals_total', 'Signal frames of broadcasts written', () => edge.broadcastsSent)
    this.#reads('broadcast_slow_total', 'Connections that a broadcast left out, for their clients did not read', () => edge.broadcastsSlow)
    this.#reads('slow_frames_total', 'Connections ended for a frame that came too slowly', () => edge.slowFrames)
    this.#log = this.#seconds('uplink_log_seconds', 'From the append of an uplink until it is durable; samples')
    this.#access = this.#seconds('uplink_access_seconds', 'From there until its ack is written; samples')
    this.#drains()
    collectDefaultMetrics({ register: this.registry })
  }

  readonly uplinkTimed = (logMs: number, accessMs: number): void => {
    this.#log.observe(logMs / 1000)
    this.#access.observe(accessMs / 1000)
  }

  readonly socketRefused = (code: string): void => { this.#refused.inc({ code }) }

  readonly tlsFailed = (listener: Listener): void => { this.#tlsFailed.inc({ listener }) }

  readonly requestCounted = (key: string, admission: Admission): void => { this.#requests.inc({ key, admission }) }

  readonly proxyHeaderRefused = (listener: Listener): void => { this.#headersRefused.inc({ listener }) }

  readonly tokenAsked = (outcome: AuthOutcome): void => { this.#tokensAsked.inc({ outcome }) }

  readonly settled = ({ outcome, reason }: DownlinkOutcome): void => { this.#settled.inc({ outcome, reason }) }

  readonly setAside = (what: SetAside): void => { this.#setAside.inc({ what }) }

  /** What this node has counted, for the console. */
  async counts (): Promise<NodeCounts> {
    const { uplinks, downlinks, signals, posts } = this.edge
    const [refused, ended] = await Promise.all([byCode(this.#uplinksRefused), byCode(this.#closed)])
    return { uplinks, downlinks, signals, posts, refused, ended }
  }

  /** Adds what is known once the parts of the node have started. */
  observe (sources: MetricsSources): void {
    this.#gauge('connections', 'Open connections', [], gauge => { gauge.set(sources.connections()) })
    this.#gauge('active_users', 'Users with an actor in memory', [], gauge => { gauge.set(sources.activeUsers()) })
    this.#gauge('active_rooms', 'Rooms with an actor in memory', [], gauge => { gauge.set(sources.activeRooms()) })
    const share = 'Share of the heap or of the memory that the process may use, whichever is scarcer'
    this.#gauge('memory_pressure', share, [], gauge => { gauge.set(sources.memoryPressure()) })
    this.#gauge('intake_bytes', 'Bytes read from clients and not dealt with', [], gauge => { gauge.set(sources.intakeBytes()) })
    this.#gauge('broadcasts', 'Broadcasts that this node is carrying out', [], gauge => { gauge.set(sources.broadcasts()) })
    this.#gauge('rooms', 'Rooms that this node takes the posts of', [], gauge => { gauge.set(sources.rooms()) })
    this.#gauge('room_bytes', 'Bytes of posts that this node keeps for members that come back', [], gauge => { gauge.set(sources.roomBytes()) })
    this.#gauge('overload_wait_seconds', 'What an uplink waits for the process between its read and its fold, mean of a window',
      [], gauge => { gauge.set(sources.overloadWaitSeconds()) })
    this.#gauge('admission_level', 'Priorities of uplinks that are refused, from -4 on, and of the next one the share of users; 0: none',
      [], gauge => { gauge.set(sources.admissionLevel()) })
    this.#gauge('commit_seconds', 'Moving average of one commit', [], gauge => { gauge.set(sources.commitSeconds()) })
    this.#gauge('table_lag_blocks', 'Ledger blocks that a table is behind', ['table'], gauge => {
      for (const [table, blocks] of sources.tableLag()) gauge.set({ table }, blocks)
    })
    const help = 'How long a health condition has lasted (docs/operations.md); 0: all is well'
    this.#gauge('condition_seconds', help, ['condition'], gauge => {
      for (const [condition, seconds] of sources.conditionSeconds()) gauge.set({ condition }, seconds)
    })
    this.#circuits(() => sources.circuits())
  }

  /** Of several circuits to one dependency the worst state, and what they have counted together. */
  #circuits (circuits: () => readonly Circuit[]): void {
    const state = 'Whether calls to a dependency go through: 0 closed, 1 half-open, 2 open'
    this.#gauge('circuit_state', state, ['dependency'], gauge => {
      const worst = new Map<string, number>()
      for (const { dependency, state } of circuits()) {
        worst.set(dependency, Math.max(worst.get(dependency) ?? 0, circuitStates[state]))
      }
      gauge.reset()
      for (const [dependency, value] of worst) gauge.set({ dependency }, value)
    })
    const counted = (name: string, help: string, count: (circuit: Circuit) => number) => {
      const counter: Counter = new Counter({
        name: `ledgerline_${name}`,
        help,
        labelNames: ['dependency'],
        registers: [this.registry],
        collect () {
          counter.reset()
          for (const circuit of circuits()) counter.inc({ dependency: circuit.dependency }, count(circuit))
        },
      })
    }
    counted('circuit_opened_total', 'How often a circuit has opened', ({ opened }) => opened)
    counted('circuit_refused_total', 'Calls that were refused because a circuit was not closed', ({ refused }) => refused)
  }

  /** Adds what is read in groups (`GET /v1/streams/:stream?group=`). */
  observeGroups (groups: GroupsSource): void {
    this.#gauge('group_readers', 'Readers in groups', [], gauge => { gauge.set(groups.load().readers) })
    this.#gauge('group_unacked_bytes', 'Bytes of lines that readers in groups have not acked', [], gauge => {
      gauge.set(groups.load().unackedBytes)
    })
    this.#reads('group_acks_total', 'Cursors that readers in groups have acked', () => groups.acks)
  }

  /** Adds what each app has, for a node that has several; the default one goes by the empty name. */
  observeApps ({ connections, uplinks, downlinks }: Record<'connections' | 'uplinks' | 'downlinks', ByApp>): void {
    this.#gauge('app_connections', 'Connections of each app', ['app'], gauge => {
      for (const [app, count] of connections()) gauge.set({ app }, count)
    })
    for (const [name, help, counts] of [
      ['app_uplinks_total', 'Uplinks of each app given to the ledger', uplinks],
      ['app_downlinks_total', 'Users that requests to send have named, of each app', downlinks],
    ] as const) {
      const counter: Counter = new Counter({
        name: `ledgerline_${name}`,
        help,
        labelNames: ['app'],
        registers: [this.registry],
        collect () {
          counter.reset()
          for (const [app, count] of counts()) counter.inc({ app }, count)
        },
      })
    }
  }

  /** Gauges, not counters: each drain begins at 0. */
  #drains (): void {
    const { drain } = this
    this.#gauge('drain_percent', 'Share of connections that have to leave; 0 for no drain', [], gauge => {
      gauge.set(drain.percent)
    })
    this.#gauge('drain_connections', 'Connections of the last drain, by how far they are', ['state'], gauge => {
      for (const state of ['remaining', 'asked', 'left', 'closed', 'resumed'] as const) gauge.set({ state }, drain[state])
    })
    this.#gauge('drain_messages_lost', 'Messages that the last drain lost', ['kind'], gauge => {
      gauge.set({ kind: 'uplink' }, drain.uplinksLost)
      gauge.set({ kind: 'downlink' }, drain.downlinksLost)
    })
  }

  #seconds (name: string, help: string): Histogram {
    return new Histogram({ name: `ledgerline_${name}`, help, buckets: secondsBuckets, registers: [this.registry] })
  }

  #counter (name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name: `ledgerline_${name}`, help, labelNames, registers: [this.registry] })
  }

  /** A counter whose number is kept elsewhere. */
  #reads (name: string, help: string, value: () => number): void {
    const counter: Counter = new Counter({
      name: `ledgerline_${name}`,
      help,
      registers: [this.registry],
      collect () { counter.reset(); counter.inc(value()) },
    })
  }

  #gauge (name: string, help: string, labelNames: string[], collect: (gauge: Gauge) => void): void {
    const gauge: Gauge = new Gauge({
      name: `ledgerline_${name}`, help, labelNames, registers: [this.registry], collect () { collect(gauge) },
    })
  }
}

async function byCode (counter: Counter): Promise<Map<string, number>> {
  const { values } = await counter.get()
  return new Map(values.map(({ labels, value }) => [String(labels['code']), value]))
}
