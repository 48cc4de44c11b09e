import { closeSync, openSync, readFileSync } from 'node:fs'
import type { Health } from '../../schemas/conditions.js'

/** For how long there must have been enough of them before the trouble is over. */
const calmMs = 5_000

export interface DescriptorsOptions {
  /** How many the process may have open; by default what the kernel says. */
  readonly max?: number
  readonly nowMs?: () => number
}

/**
 * The file descriptors that this process has left. A quarter of them, 256 at most, is kept from clients: for the log,
 * Kafka, Redis, and for whoever asks `/readyz` what is wrong. The kernel gives each new socket the lowest number that
 * is free, so all numbers below it are taken, by whatever it may be, and nobody has to count them.
 */
export class Descriptors {
  readonly max: number
  readonly reserve: number
  readonly #health: Health
  readonly #nowMs: () => number
  /** When they were short last; undefined while there are enough. */
  #shortAtMs: number | undefined

  constructor (health: Health, { max = openFilesMax(), nowMs = () => performance.now() }: DescriptorsOptions = {}) {
    this.#health = health
    this.#nowMs = nowMs
    this.max = max
    this.reserve = Math.min(256, Math.ceil(max / 4))
  }

  /** True where a client's socket of that number takes from the reserve: it can't stay. */
  areShort (fd: number): boolean {
    if (fd < this.max - this.reserve) return false
    this.#shortAtMs = this.#nowMs()
    this.#health.begin('descriptors', `${this.max} are allowed, all but a reserve of ${this.reserve} are in use`)
    return true
  }

  /** Looks for the trouble that no client brings up, and for its end; to be called every second or so. */
  sweep (): void {
    if (this.max === Infinity || this.areShort(lowestFree()) || this.#shortAtMs === undefined) return
    if (this.#nowMs() - this.#shortAtMs < calmMs) return
    this.#shortAtMs = undefined
    this.#health.end('descriptors')
  }
}

/** The number that the next socket would get; Infinity where there is none. */
function lowestFree (): number {
  try {
    const fd = openSync('/dev/null', 'r')
    closeSync(fd)
    return fd
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    return code === 'EMFILE' || code === 'ENFILE' ? Infinity : -1
  }
}

/** RLIMIT_NOFILE, which Node has raised as far as it may; Infinity where nobody says. */
export function openFilesMax (): number {
  try {
    const [, max] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return max === undefined ? Infinity : Number(max)
  } catch {
    return Infinity
  }
}
