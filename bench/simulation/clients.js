import { Backoff } from '../../dist/client/backoff.js'
import { Endpoints } from '../../dist/client/endpoints.js'
import { exponential } from './random.js'

/** To an edge and back; and until a client gives up on one that does not answer (client/connection.ts). */
const roundTripMs = 60
const deadMs = 10_000
const backoffOf = { baseMs: 1_000, capMs: 60_000 }
const ttlMs = 300_000
/** As client/connector.ts has them: how long a connection lasts that resets the backoff, and redirects in a row. */
const stableMs = 5_000
const redirectsMax = 3

const away = 0
const waiting = 1
const connecting = 2
const connected = 3

/** Clients that reconnect as the SDK does, by its own backoff and its own list of endpoints. */
export class Clients {
  /** By client: index of the node that it is connected to or connecting to. */
  #node
  #state
  /** Counts what a client set out to do: an event of an earlier round means nothing any more. */
  #round
  #backoffs = []
  #endpoints = []
  #redirects
  #connectedAtMs
  connected = 0

  /**
   * @param {object} world
   * @param {number} world.count
   * @param {import('./clock.js').Clock} world.clock
   * @param {import('./nodes.js').Node[]} world.nodes
   * @param {import('./ip-config.js').IpConfig} world.ipConfig
   * @param {() => number} world.random
   * @param {import('./tally.js').Tally} world.tally
   * @param {{ stayMs: number, awayMs: number }} [world.churn] means; without it a client stays for ever
   */
  constructor (world) {
    this.world = world
    const { count, random } = world
    this.#node = new Int32Array(count).fill(-1)
    this.#state = new Uint8Array(count)
    this.#round = new Int32Array(count)
    this.#redirects = new Uint8Array(count)
    this.#connectedAtMs = new Float64Array(count)
    this.nodeByUrl = new Map(world.nodes.map(node => [node.url, node]))
    const { clock, ipConfig } = world
    const shared = {
      nowMs: () => clock.nowMs,
      async ipConfig () {
        if (ipConfig.away) throw new Error('ip-config is away')
        return { endpoints: ipConfig.endpoints(clock.nowMs), ttlMs, backoff: backoffOf }
      },
    }
    for (let id = 0; id < count; id++) {
      this.#backoffs.push(new Backoff({ ...backoffOf, random }))
      this.#endpoints.push(new Endpoints(shared))
    }
  }

  /** Opens the connection without the way there: how the world was before it is looked at. */
  async place (id) {
    const { url } = await this.#endpoints[id].next()
    const node = this.nodeByUrl.get(url)
    this.#node[id] = node.index
    node.connections++
    this.#stay(id)
  }

  /** The client comes, after a while. */
  comeIn (id, ms) {
    this.#state[id] = waiting
    this.#next(id, ms)
  }

  /** What the client set out to do is due. */
  handle (id, round) {
    if (round !== this.#round[id]) return
    switch (this.#state[id]) {
      case away:
      case waiting: return this.#attempt(id)
      case connecting: return this.#answered(id)
      case connected: return this.#leave(id)
    }
  }

  /** The process of the node is gone: each of its clients sees its socket end at once. */
  lose (node) {
    for (let id = 0; id < this.#node.length; id++) {
      if (this.#node[id] !== node.index || this.#state[id] !== connected) continue
      this.connected--
      if (this.world.clock.nowMs - this.#connectedAtMs[id] >= stableMs) this.#backoffs[id].reset()
      this.#retry(id)
    }
  }

  async #attempt (id) {
    const { clock, tally } = this.world
    tally.attempt(clock.nowMs)
    const address = await this.#endpoints[id].next().catch(() => undefined)
    const node = this.nodeByUrl.get(address?.url)
    this.#state[id] = connecting
    this.#node[id] = node?.index ?? -1
    if (!node?.alive) return this.#next(id, roundTripMs) // refused
    const servedAtMs = node.accept(clock.nowMs)
    if (servedAtMs === undefined) this.#node[id] = -1
    this.#next(id, servedAtMs === undefined ? deadMs : servedAtMs - clock.nowMs + roundTripMs)
  }

  #answered (id) {
    const { nodes, tally, clock } = this.world
    const node = nodes[this.#node[id]]
    if (!node?.alive) {
      tally.failed++
      return this.#retry(id)
    }
    if (node.connections >= node.connectionsMax && this.#redirects[id] < redirectsMax) {
      this.#redirects[id]++
      tally.redirected++
      this.#endpoints[id].prefer(this.world.ipConfig.endpoints(clock.nowMs).filter(url => url !== node.url))
      this.#state[id] = waiting
      return this.#next(id, 0)
    }
    if (node.connections >= node.connectionsMax) return this.#retry(id)
    node.connections++
    tally.connected(clock.nowMs)
    this.#redirects[id] = 0
    this.#stay(id)
  }

  #stay (id) {
    const { churn, random, clock } = this.world
    this.connected++
    this.#state[id] = connected
    this.#connectedAtMs[id] = clock.nowMs
    if (churn) this.#next(id, exponential(random, churn.stayMs))
    else this.#round[id]++
  }

  #leave (id) {
    const { nodes, churn, random } = this.world
    nodes[this.#node[id]].connections--
    this.connected--
    this.#backoffs[id].reset() // it starts anew when it comes back
    this.#node[id] = -1
    this.#state[id] = away
    this.#next(id, exponential(random, churn.awayMs()))
  }

  #retry (id) {
    this.#state[id] = waiting
    this.#node[id] = -1
    this.#next(id, this.#backoffs[id].nextMs())
  }

  #next (id, ms) {
    const { clock } = this.world
    clock.set(clock.nowMs + ms, id, ++this.#round[id])
  }
}
