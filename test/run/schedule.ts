/** Three files keep two cores busy, for most wait for this or that now and then. */
export const coresUsually = 0.65

/** What a file of tests takes of a machine, where that is not the usual for some seconds. */
export interface Load {
  /** How long it takes on two cores, roughly: the longest begin first, so that none is left over at the end. */
  readonly seconds?: number
  /** Cores that it keeps busy on average, it and all processes that it starts; `coresUsually` where nothing is said. */
  readonly cores?: number
  /** Why nothing may run beside it. */
  readonly alone?: string
  /** It computes and looks at no clock: it gets, beside all others, what they leave. */
  readonly background?: boolean
}

/** Who may begin when. Files that must be alone come first, while the machine is empty, and then the longest. */
export class Schedule {
  readonly #waiting: string[]
  readonly #running = new Set<string>()

  /**
   * @param files by the names that `loads` has for some of them
   * @param cores of the machine
   */
  constructor (files: readonly string[], readonly loads: Readonly<Record<string, Load>>, readonly cores: number) {
    const rank = (file: string) => this.#isAlone(file) ? Infinity : this.#load(file).seconds ?? 0
    // Those of one rank stay in their order.
    this.#waiting = [...files].sort((a, b) => rank(a) === rank(b) ? 0 : rank(b) - rank(a))
  }

  get isOver (): boolean { return this.#waiting.length + this.#running.size === 0 }

  /** Those that begin now; each runs until `ended`. */
  begin (): string[] {
    const begun: string[] = []
    for (const file of [...this.#waiting]) {
      if (!this.#hasRoom(file)) continue
      this.#waiting.splice(this.#waiting.indexOf(file), 1)
      this.#running.add(file)
      begun.push(file)
    }
    return begun
  }

  ended (file: string): void { this.#running.delete(file) }

  isBackground (file: string): boolean { return this.#load(file).background === true }

  #hasRoom (file: string): boolean {
    const running = [...this.#running]
    if (running.length === 0) return true
    if (this.#isAlone(file) || running.some(each => this.#isAlone(each))) return false
    if (this.isBackground(file)) return !running.some(each => this.isBackground(each))
    const others = running.filter(each => !this.isBackground(each))
    // However little they compute, each has its processes and its memory.
    if (others.length >= 2 * this.cores) return false
    const busy = others.reduce((sum, each) => sum + this.#coresOf(each), 0)
    return others.length === 0 || busy + this.#coresOf(file) <= this.cores
  }

  #load (file: string): Load { return this.loads[file] ?? {} }
  #coresOf (file: string): number { return this.#load(file).cores ?? coresUsually }
  #isAlone (file: string): boolean { return this.#load(file).alone !== undefined }
}
