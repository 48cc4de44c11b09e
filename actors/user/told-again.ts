/** Of one connection: in memory, in bytes, all fields counted. */
interface Sized { readonly bytes: number }

/**
 * What connections are told again, by connection id, what was told last at the end. Past the bound those that were told
 * longest ago are told no more: of all they are likeliest to have arrived.
 */
export class ToldAgain<T extends Sized> {
  readonly #told = new Map<string, T>()
  #bytes = 0

  /** @param forgotten told of each that is told no more, for whatever reason */
  constructor (private readonly bytesMax: number, private readonly forgotten: (told: T) => void = () => {}) {}

  get size (): number { return this.#told.size }

  get (connectionId: string): T | undefined { return this.#told.get(connectionId) }

  values (): IterableIterator<T> { return this.#told.values() }

  /** In place of what the connection was told before. */
  remember (connectionId: string, told: T): void {
    this.forget(connectionId)
    this.#told.set(connectionId, told)
    this.#bytes += told.bytes
    for (const oldest of this.#told.keys()) {
      if (this.#bytes <= this.bytesMax) break
      this.forget(oldest)
    }
  }

  forget (connectionId: string): void {
    const told = this.#told.get(connectionId)
    if (!told) return
    this.#told.delete(connectionId)
    this.#bytes -= told.bytes
    this.forgotten(told)
  }
}
