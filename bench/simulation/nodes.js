/* The edges, as a client and as ip-config see them. */

/** Connections that wait to be accepted, as edges ask of their listeners; past it the kernel answers nobody. */
const backlog = 4096
/** What one edge takes on, TLS and handshake included, on one core. */
const acceptsPerSecond = 2_000
/** A report renews the lease three times in it (gateway/node.ts). */
const leaseMs = 15_000
const reportEveryMs = leaseMs / 3

export class Node {
  connections = 0
  alive = true
  reported = 0
  reportedAtMs = 0
  /** When the listener has worked off whoever waits. */
  #freeAtMs = 0
  #acceptedSinceReport = 0

  constructor (index, zone, connectionsMax) {
    this.index = index
    this.zone = zone
    this.connectionsMax = connectionsMax
    this.url = `wss://edge-${index}.example/v1/connect`
    /** Spread, as starts at different times are. */
    this.phaseMs = (index * 997) % reportEveryMs
  }

  /** @returns when the newcomer is served, or undefined where nobody answers it */
  accept (nowMs) {
    const freeAtMs = Math.max(nowMs, this.#freeAtMs)
    if ((freeAtMs - nowMs) * acceptsPerSecond / 1000 >= backlog) return undefined
    this.#acceptedSinceReport++
    this.#freeAtMs = freeAtMs + 1000 / acceptsPerSecond
    return this.#freeAtMs
  }

  die () {
    this.alive = false
    this.connections = 0
  }

  restart (nowMs) {
    this.alive = true
    this.#freeAtMs = nowMs
    this.#report(nowMs)
  }

  /** The row of the node table at this time: reports are up to `reportEveryMs` old. */
  row (nowMs) {
    if (this.alive) {
      const lastMs = nowMs - ((nowMs + this.phaseMs) % reportEveryMs)
      if (lastMs > this.reportedAtMs) this.#report(lastMs)
    }
    return this.#row
  }

  #report (atMs) {
    const seconds = Math.max(1, (atMs - this.reportedAtMs) / 1000)
    const accepting = Math.min(1, this.#acceptedSinceReport / seconds / acceptsPerSecond)
    this.#acceptedSinceReport = 0
    this.reported = this.connections
    this.reportedAtMs = atMs
    this.#row = {
      nodeId: `edge-${this.index}`,
      region: 'local',
      wsUrl: this.url,
      tcpUrl: '',
      connectionsMax: this.connectionsMax,
      state: 'up',
      alive: true,
      reportedAtMs: atMs,
      aliveUntilMs: atMs + leaseMs,
      reported: {
        connections: this.connections,
        // Heartbeats and some traffic take half a core at most connections; whoever is being accepted, the rest.
        eventLoopUtilization: Math.min(1, 0.5 * this.connections / this.connectionsMax + 0.5 * accepting),
        rssBytes: 100e6 + 10e3 * this.connections,
        memoryBytesMax: 1e9,
      },
    }
  }

  #row
}
