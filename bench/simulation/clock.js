/* Virtual time: events in the order of their times, and of two at one time in the order in which they were set. */

/** A binary heap over typed arrays: a million pending events take 24 MB and cause no garbage. */
export class Clock {
  nowMs = 0
  #size = 0
  #order = 0
  #times
  #orders
  #ids
  #rounds

  /** @param {number} eventsMax pending at any one time */
  constructor (eventsMax) {
    this.#times = new Float64Array(eventsMax)
    this.#orders = new Float64Array(eventsMax)
    this.#ids = new Int32Array(eventsMax)
    this.#rounds = new Int32Array(eventsMax)
  }

  /** `round` comes back with the event: its owner ignores those of a round that is over. */
  set (atMs, id, round) {
    let i = this.#size++
    if (i === this.#times.length) throw new Error(`more than ${i} events are pending`)
    const order = this.#order++
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!this.#before(atMs, order, parent)) break
      this.#move(parent, i)
      i = parent
    }
    this.#put(i, atMs, order, id, round)
  }

  /**
   * Hands every event up to `untilMs` to `handle`, in order, and stands at `untilMs` then. The clock stands still for
   * what a handler awaits.
   */
  async run (untilMs, handle) {
    while (this.#size > 0 && this.#times[0] <= untilMs) {
      this.nowMs = this.#times[0]
      const id = this.#ids[0]
      const round = this.#rounds[0]
      this.#removeFirst()
      await handle(id, round)
    }
    this.nowMs = untilMs
  }

  #removeFirst () {
    const last = --this.#size
    if (last === 0) return
    const time = this.#times[last]
    const order = this.#orders[last]
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= last) break
      if (child + 1 < last && this.#before(this.#times[child + 1], this.#orders[child + 1], child)) child++
      if (this.#before(time, order, child)) break
      this.#move(child, i)
      i = child
    }
    this.#put(i, time, order, this.#ids[last], this.#rounds[last])
  }

  #before (time, order, other) {
    return time < this.#times[other] || (time === this.#times[other] && order < this.#orders[other])
  }

  #move (from, to) { this.#put(to, this.#times[from], this.#orders[from], this.#ids[from], this.#rounds[from]) }

  #put (at, time, order, id, round) {
    this.#times[at] = time
    this.#orders[at] = order
    this.#ids[at] = id
    this.#rounds[at] = round
  }
}
