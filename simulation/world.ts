import { Random } from './random.js'
import { Trace } from './trace.js'

/** Where simulated sides of ports have their turns: of a host, or of the world around them. */
export interface Turns {
  /** Runs it so much later. What belongs to a host that has crashed by then never runs. */
  later (ms: number, what: string, run: () => void): Cancel
}

export type Cancel = () => void

/** What happens at a moment of virtual time. */
interface Event {
  atUs: number
  /** At one moment, the events of one host stay in their order, and the hosts come in an order of the seed's. */
  order: number
  seq: number
  readonly host: Host
  readonly what: string
  /** Undefined once it is cancelled. */
  run: (() => void) | undefined
}

/** Work that only the real machine can do, such as a signature in the thread pool. The world stands still for it. */
interface Errand {
  readonly host: Host
  settle: (() => void) | undefined
}

/** A clock that nobody sets, and the one that people look at, begin here: 1 March 2030. */
const beginningMs = Date.UTC(2030, 2, 1)

/** What one turn of an event loop takes: else a loop of immediates would stand for ever at one moment. */
const turnUs = 20

/** Events between two looks at the real event loop's other work. */
const eventsPerTurn = 64

/** What the real event loop does for whoever asks it for files or names. */
const realRequests = /^(?:FSReq|GetAddrInfo|GetNameInfo)/

const setRealImmediate = setImmediate

/**
 * One computer: a node, a device, a business service. Its code runs in turns that the world gives it; a crash is that
 * it gets none any more, and that nothing which it had asked for comes back to it.
 */
export class Host implements Turns {
  readonly random: Random
  /** Added to the time of day, not to the monotonic clock. */
  clockOffsetMs = 0
  isDown = false
  /** Of a host that is paused: what is due waits here. */
  held: Event[] | undefined
  /** What a turn takes of its one processor, µs of virtual time: what is due meanwhile waits, in its order. */
  turnUs = 0
  /** All that its turns have taken, µs. */
  busyUs = 0
  /** While one of its turns goes on: what has become due since it began. */
  waiting: Event[] | undefined
  readonly #number: number

  constructor (readonly world: World, readonly name: string, readonly address: string, number: number) {
    this.random = new Random(world.seed, name)
    this.#number = number
  }

  later (ms: number, what: string, run: () => void): Cancel {
    return this.world.schedule(this, Math.max(0, Math.round(ms * 1000)), what, run)
  }

  /** In the turn that is under way, which becomes this host's; later where it is paused or busy. */
  now (what: string, run: () => void): void {
    if (this.held || this.waiting) this.later(0, what, run)
    else this.world.handOver(this, what, run)
  }

  /** Does this as the host: timers that are set and sockets that are opened are its own. */
  as<T> (run: () => T): T {
    const before = this.world.current
    this.world.current = this
    try {
      return run()
    } finally {
      this.world.current = before
    }
  }

  /** Nothing of it runs from now on. */
  crash (): void {
    this.isDown = true
    this.held = this.waiting = undefined
  }

  pause (): void { this.held ??= [] }

  /** All that was due meanwhile happens now, in its order. */
  resume (): void {
    const { held = [] } = this
    this.held = undefined
    for (const event of held) this.world.scheduleAgain(event)
  }

  /** Its place among the hosts at one moment. */
  orderAt (atUs: number): number {
    let mixed = Math.imul(this.world.seed ^ Math.imul(this.#number, 0x9e3779b1), 0x85ebca6b) ^ (atUs | 0)
    mixed = Math.imul(mixed ^ mixed >>> 15, 0xc2b2ae35)
    return (mixed ^ mixed >>> 13) >>> 0
  }
}

/**
 * Virtual time and all that is to happen in it. An event runs, then every microtask and `nextTick` that it led to; only
 * then comes the next event, and with it, perhaps, a later time.
 */
export class World {
  seed = 0
  nowUs = 0
  /** Whose turn it is. */
  current: Host
  /** Around the hosts: networks, brokers, faults. Never down. */
  outside: Host
  trace = new Trace()
  events = 0
  /** Told of what nobody caught; by default it ends the process. */
  uncaught: (error: unknown, host: Host) => void = error => { throw error }
  readonly #heap: Event[] = []
  readonly #errands: Errand[] = []
  #seq = 0
  #hosts = 0

  constructor () {
    this.outside = this.current = new Host(this, 'world', '0.0.0.0', 0)
  }

  /** Starts over with this seed: of what was due before nothing happens any more. */
  begin (seed: number, trace = new Trace()): void {
    this.seed = seed
    this.trace = trace
    this.nowUs = this.events = this.#seq = this.#hosts = 0
    this.#heap.length = this.#errands.length = 0
    this.outside = this.current = new Host(this, 'world', '0.0.0.0', 0)
  }

  host (name: string, address: string): Host { return new Host(this, name, address, ++this.#hosts) }

  /** Ms since the world began. */
  get nowMs (): number { return this.nowUs / 1000 }

  /** The time of day as whoever has the turn sees it, ms since 1970. */
  get wallMs (): number { return this.wallMsOf(this.current) }

  wallMsOf ({ clockOffsetMs }: Host): number { return Math.floor(beginningMs + clockOffsetMs + this.nowUs / 1000) }

  schedule (host: Host, us: number, what: string, run: () => void): Cancel {
    const atUs = this.nowUs + us
    const event: Event = { atUs, order: host.orderAt(atUs), seq: ++this.#seq, host, what, run }
    this.#push(event)
    return () => { event.run = undefined }
  }

  /** For what was held back: it is due now, and can still be cancelled by whoever has it. */
  scheduleAgain (event: Event): void {
    event.atUs = Math.max(event.atUs, this.nowUs)
    event.order = event.host.orderAt(event.atUs)
    event.seq = ++this.#seq
    this.#push(event)
  }

  /** The rest of this turn, and what follows from it, is that of another host, which is not down. */
  handOver (host: Host, what: string, run: () => void): void {
    this.current = host
    this.trace.add(`${this.nowUs} ${host.name} ${what}`)
    run()
    this.#occupy(host)
  }

  /** For `setImmediate`: in the next turn of the host that has this one. */
  soon (what: string, run: () => void): Cancel { return this.schedule(this.current, turnUs, what, run) }

  /** The result of real work, delivered to whoever has the turn now; in the order in which they were asked for. */
  errand<T> (work: Promise<T>): Promise<T> {
    const errand: Errand = { host: this.current, settle: undefined }
    this.#errands.push(errand)
    return new Promise((resolve, reject) => {
      work.then(value => { errand.settle = () => { resolve(value) } }, err => { errand.settle = () => { reject(err) } })
    })
  }

  /** Lets everything happen that is due within so long; resolves with the time there. */
  async run (ms: number): Promise<void> {
    const untilUs = this.nowUs + Math.round(ms * 1000)
    await new Promise<void>(resolve => {
      const turn = (): void => {
        for (let i = 1; i < eventsPerTurn; i++) setRealImmediate(step)
        setRealImmediate(last)
      }
      let isOver = false
      const step = (): void => { isOver ||= !this.#step(untilUs) }
      const last = (): void => {
        step()
        this.#standAlone()
        if (!isOver) return turn()
        this.nowUs = untilUs
        this.current = this.outside
        resolve()
      }
      turn()
    })
  }

  /**
   * Nobody in the world has asked the real machine for anything but errands: an answer would come at a moment that is
   * no event, in the turn of whoever has it then, and no run would be as the one before. None can have come by now, for
   * the real event loop takes answers only between two of our looks.
   */
  #standAlone (): void {
    const asked = process.getActiveResourcesInfo().filter(resource => realRequests.test(resource))
    if (asked.length === 0) return
    this.uncaught(new Error(`the real machine was asked for something: ${asked.join()}`), this.current)
  }

  /** @returns false where nothing is due any more */
  #step (untilUs: number): boolean {
    const [errand] = this.#errands
    if (errand) {
      if (errand.settle === undefined) return true // the machine is still at it
      this.#errands.shift()
      this.schedule(errand.host, 0, 'errand', errand.settle)
      return true
    }
    const event = this.#next(untilUs)
    if (event === undefined) return false
    if (event.atUs > this.nowUs) this.nowUs = event.atUs
    this.#perform(event)
    return true
  }

  #perform (event: Event): void {
    const { host, run, what } = event
    this.events++
    this.trace.add(`${this.nowUs} ${host.name} ${what}`)
    this.current = host
    event.run = undefined
    try {
      run!()
    } catch (err) {
      this.uncaught(err, this.current)
    }
    this.#occupy(host)
  }

  /** A turn of this host has begun: it has no other one before this one is over. */
  #occupy (host: Host): void {
    if (host.turnUs === 0 || host.isDown || host.waiting) return
    host.waiting = []
    host.busyUs += host.turnUs
    this.schedule(this.outside, host.turnUs, `the turn of ${host.name} is over`, () => { this.#free(host) })
  }

  /** What has waited longest has the next turn. */
  #free (host: Host): void {
    const { waiting = [], held } = host
    host.waiting = undefined
    if (host.isDown) return
    if (held) {
      held.push(...waiting)
      return
    }
    for (let event = waiting.shift(); event; event = waiting.shift()) {
      if (event.run === undefined) continue
      this.#perform(event)
      if (waiting.length === 0) return
      if (host.waiting) host.waiting = waiting
      else for (const each of waiting) this.scheduleAgain(each) // it is not busy any more
      return
    }
  }

  /** The next one that happens: not one that was cancelled, or whose host is down, paused or busy. */
  #next (untilUs: number): Event | undefined {
    for (;;) {
      const event = this.#heap[0]
      if (event === undefined || event.atUs > untilUs) return undefined
      this.#pop()
      const { host, run } = event
      if (run === undefined || host.isDown) continue
      const waits = host.held ?? host.waiting
      if (waits === undefined) return event
      waits.push(event)
    }
  }

  #push (event: Event): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  #pop (): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

function isBefore (one: Event, other: Event): boolean {
  if (one.atUs !== other.atUs) return one.atUs < other.atUs
  if (one.order !== other.order) return one.order < other.order
  return one.seq < other.seq
}
