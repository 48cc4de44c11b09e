import { closeSync, openSync, readSync } from 'node:fs'
import { totalmem } from 'node:os'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { Health } from '../schemas/conditions.js'

/** Shares of the heap's limit, or of the memory that the process may have, from which on something is given up. */
export const watermarks = {
  /** Clients that read too slowly, those with the most queued bytes first. */
  readers: 0.75,
  /** New connections. */
  connects: 0.8,
  /** Uplinks of a priority below 1; then all of them. */
  uplinks: 0.85,
  allUplinks: 0.92,
} as const

/** It must fall so far below a watermark for that to end. */
const slack = 0.05

const sampleEveryMs = 250

/** Twice what the kernel writes of a process. */
const statusBytesMax = 4096

/** What is in use and what there may be, bytes. */
export interface MemoryUse {
  /** What the last full collection left, or 0 where there was none: what is in use between two may all be garbage. */
  readonly heapBytes: number
  readonly heapBytesMax: number
  /** All memory of the process that is not a view of a file. */
  readonly residentBytes: number
  readonly residentBytesMax: number
}

/** What is shed as memory becomes short. */
export interface Shedding {
  /** Ends connections that hold the most for clients that do not read. */
  shedReaders (): void
}

/** Watches the memory of this process, and says what it can not bear any more, before the heap or the machine ends. */
export class Memory {
  /** The scarcer of the two, 0 to 1. */
  pressure = 0
  #level = 0

  /** @param use by default what this process uses */
  constructor (readonly health: Health, readonly shedding: Shedding, readonly use: () => MemoryUse) {}

  /** No client may connect: it is sent away with a wait. */
  get refusesConnects (): boolean { return this.#level >= watermarks.connects }

  /** Uplinks of a lower priority are refused with `overloaded`. */
  get priorityMin (): number {
    if (this.#level < watermarks.uplinks) return -Infinity
    return this.#level < watermarks.allUplinks ? 1 : Infinity
  }

  sample (): void {
    const use = this.use()
    const { heapBytes, heapBytesMax, residentBytes, residentBytesMax } = use
    this.pressure = pressureOf(use)
    this.#level = levelOf(this.pressure, this.#level)
    if (this.#level === 0) {
      this.health.end('memory')
      return
    }
    this.health.begin('memory', `${mib(heapBytes)} of ${mib(heapBytesMax)} MiB of the heap are in use, ` +
      `${mib(residentBytes)} of ${mib(residentBytesMax)} MiB of memory`)
    if (this.pressure >= watermarks.readers) this.shedding.shedReaders()
  }

  /** Samples from now on. @returns what ends it */
  start (): () => void {
    const timer = setInterval(() => { this.sample() }, sampleEveryMs).unref()
    return () => { clearInterval(timer) }
  }
}

/** The share that is in use of the scarcer of the two, 0 to 1. */
export function pressureOf ({ heapBytes, heapBytesMax, residentBytes, residentBytesMax }: MemoryUse): number {
  return Math.max(heapBytes / heapBytesMax, residentBytes / residentBytesMax)
}

/** The highest watermark that is passed, or was and is not left behind by `slack`. */
function levelOf (pressure: number, before: number): number {
  let level = 0
  for (const mark of Object.values(watermarks)) {
    if (pressure >= (mark <= before ? mark - slack : mark)) level = mark
  }
  return level
}

/**
 * What this process uses.
 *
 * @param bytesMax what it may use; 0: what the container allows, or the machine has
 * @returns and what ends the watching of collections
 */
export function processMemory (bytesMax: number): { use: () => MemoryUse, stop: () => void } {
  let heapBytes = 0
  const observer = new PerformanceObserver(list => {
    const entries = list.getEntries() as Array<PerformanceEntry & { detail?: { kind?: number } }>
    const isFull = entries.some(({ detail }) => detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR)
    if (isFull) heapBytes = getHeapStatistics().used_heap_size
  })
  observer.observe({ entryTypes: ['gc'] })
  const heapBytesMax = getHeapStatistics().heap_size_limit
  const residentBytesMax = bytesMax || memoryBytesMax()
  const resident = residentMemory()
  return {
    use: () => ({ heapBytes, heapBytesMax, residentBytes: resident.bytes(), residentBytesMax }),
    stop () {
      observer.disconnect()
      resident.close()
    },
  }
}

/** What a container allows, or the machine has. */
export function memoryBytesMax (): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem()
}

/**
 * Bytes of this process without what is mapped from files, such as the log: the system takes that back when it needs
 * it.
 * The file is opened once: a node whose clients have taken all descriptors must be able to look at its memory.
 */
function residentMemory (): { bytes: () => number, close: () => void } {
  let status: number
  try {
    status = openSync('/proc/self/status', 'r')
  } catch {
    return { bytes: () => process.memoryUsage.rss(), close: () => {} } // not Linux, where that takes no descriptor
  }
  const text = Buffer.alloc(statusBytesMax)
  return {
    bytes () {
      const length = readSync(status, text, 0, text.length, 0)
      return Number(/^RssAnon:\s+(\d+) kB/m.exec(text.toString('latin1', 0, length))?.[1] ?? 0) * 1024
    },
    close: () => { closeSync(status) },
  }
}

function mib (bytes: number): number { return Math.round(bytes / 1024 / 1024) }
