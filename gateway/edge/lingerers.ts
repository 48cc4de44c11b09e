/** How long a socket that was told why it is not let in may take to close. */
const lingerMs = 500

interface Lingerer { destroy (): void }

/**
 * Sockets that were told why they can't stay and whose client has yet to read it. Destroying one with unread bytes
 * would make the kernel reset it and take our last words along, so each gets a moment; but there are only so many at a
 * time, and the one that had most of its moment goes for the next.
 */
export class Lingerers {
  /** With the time since which each lingers, oldest first. */
  readonly #since = new Map<Lingerer, number>()

  constructor (readonly max: number, readonly nowMs: () => number = () => performance.now()) {}

  get size (): number { return this.#since.size }

  add (lingerer: Lingerer): void {
    if (this.#since.size >= this.max) this.#destroy(this.#since.keys().next().value!)
    this.#since.set(lingerer, this.nowMs())
  }

  /** It has closed. */
  delete (lingerer: Lingerer): void { this.#since.delete(lingerer) }

  sweep (): void {
    const beforeMs = this.nowMs() - lingerMs
    for (const [lingerer, sinceMs] of this.#since) {
      if (sinceMs > beforeMs) return
      this.#destroy(lingerer)
    }
  }

  destroyAll (): void {
    for (const lingerer of this.#since.keys()) this.#destroy(lingerer)
  }

  #destroy (lingerer: Lingerer): void {
    this.#since.delete(lingerer)
    lingerer.destroy()
  }
}
