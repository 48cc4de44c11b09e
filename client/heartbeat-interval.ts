/** A server that was told bears 2.5 times as much, and 30 minutes at most: a ping must be there before. */
const msMax = 25 * 60_000
/** Nobody's radio is to be woken more often, however short the memory of a network seems. */
const msMin = 10_000
/**
 * Answered pings in a row before the interval grows, and by what part. The server knows no more than the last silence:
 * a step has to stay below 2.5 times that.
 */
const stableBeats = 3
const stepPart = 0.2
/** An end after less than this part of a heartbeat says nothing about silence. */
const silentPart = 0.6
/** The machine slept where a silence is longer than the interval by this factor. */
const sleptFactor = 1.5
/** How far below a silence that was deadly. */
const margin = 0.75
/** Answered pings before a silence that was deadly is tried again: the network may have gone away by chance. */
const forgiveBeats = 50

/** How long a client may be silent: as the server says, or as long as the network is found to remember a connection. */
export class HeartbeatInterval {
  readonly #isAdaptive: boolean
  readonly #found: (network: string, ms: number) => void
  #dictatedMs = 0
  #network = ''
  #intervalMs = 0
  /** No longer than this, since a longer silence was deadly. */
  #ceilingMs = Infinity
  #beats = 0
  #beatsAtCeiling = 0
  /** Timers run late here: then no longer than the server's own. */
  #isLate = false

  /** @param found told of each interval that a network turned out to bear */
  constructor (isAdaptive: boolean, found: (network: string, ms: number) => void = () => {}) {
    this.#isAdaptive = isAdaptive
    this.#found = found
  }

  get ms (): number { return this.#intervalMs }

  /** What a ping says of the silence that is to come; 0 where that is as the server dictates. */
  get toTellMs (): number { return this.#intervalMs > this.#dictatedMs ? this.#intervalMs : 0 }

  /**
   * A connection is open. What was found holds for as long as neither the server nor the network is another one.
   *
   * @param knownMs what was found on this network before; 0 for nothing
   */
  dictate (dictatedMs: number, network: string, knownMs: number): void {
    if (dictatedMs === this.#dictatedMs && network === this.#network) return
    this.#dictatedMs = dictatedMs
    this.#network = network
    this.#beats = this.#beatsAtCeiling = 0
    this.#ceilingMs = Infinity
    this.#set(this.#isAdaptive && knownMs > 0 ? knownMs : dictatedMs)
  }

  /** A ping after so long a silence was answered. */
  answered (silentMs: number): void {
    if (!this.#isAdaptive || silentMs < 0.9 * this.#intervalMs) return
    this.#beats++
    if (this.#intervalMs >= this.#ceilingMs && ++this.#beatsAtCeiling >= forgiveBeats) this.#ceilingMs = Infinity
    if (this.#beats < stableBeats) return
    this.#beats = 0
    this.#find(this.#intervalMs * (1 + stepPart))
  }

  /** A connection died, or was cut, in so long a silence. */
  died (silentMs: number): void {
    if (!this.#isAdaptive || silentMs > sleptFactor * this.#intervalMs) return
    if (silentMs < silentPart * Math.min(this.#intervalMs, this.#dictatedMs)) return
    this.#beats = this.#beatsAtCeiling = 0
    this.#ceilingMs = Math.max(Math.min(msMin, this.#dictatedMs), margin * Math.min(silentMs, this.#intervalMs))
    this.#find(this.#ceilingMs)
  }

  late (): void {
    if (this.#isLate) return
    this.#isLate = true
    this.#set(this.#intervalMs)
  }

  #find (ms: number): void {
    const before = this.#intervalMs
    this.#set(ms)
    if (this.#intervalMs !== before) this.#found(this.#network, this.#intervalMs)
  }

  #set (ms: number): void {
    const maxMs = this.#isLate ? this.#dictatedMs : Math.max(msMax, this.#dictatedMs)
    this.#intervalMs = Math.floor(Math.min(ms, maxMs, this.#ceilingMs))
  }
}
