import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import perfHooks from 'node:perf_hooks'
import timers from 'node:timers'
import timersPromises from 'node:timers/promises'
import { promisify } from 'node:util'
import { replaceFiles } from './files-globals.js'
import { Random } from './random.js'
import { put } from './put.js'
import type { World } from './world.js'

/*
  Replaces what a program sees of the machine it runs on, for the whole process: the time, timers, randomness, memory,
  and files as far as a node reads any. Node's own modules keep what they took when the process began, and `import`
  finds what stands here only after `syncBuiltinESMExports`; so this must have run before the first import of anything
  else.
*/

/** What each simulated machine has. */
const memoryBytes = 8 * 2 ** 30
const usedBytes = 100 * 2 ** 20
/** Nobody asks for so many random bytes but to have them at hand. */
const poolBytesMin = 4_096

export function replaceGlobals (world: World): void {
  replaceTime(world)
  replaceTimers(world)
  replaceRandomness(world)
  replaceMachine(world)
  replaceFiles()
  syncBuiltinESMExports()
}

function replaceTime (world: World): void {
  const RealDate = Date
  RealDate.now = () => world.wallMs
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [world.wallMs] : args, newTarget) as object,
    apply: () => new RealDate(world.wallMs).toString(),
  })
  put(performance, { now: () => world.nowMs, timeOrigin: 0 })
  const hrtime = (before?: [number, number]): [number, number] => {
    const us = world.nowUs - (before ? before[0] * 1e6 + before[1] / 1000 : 0)
    return [Math.floor(us / 1e6), us % 1e6 * 1000]
  }
  hrtime.bigint = () => BigInt(world.nowUs) * 1000n
  put(process, { hrtime, uptime: () => world.nowMs / 1000 })
}

/** What `setTimeout` and `setInterval` return. */
class Timer {
  #cancel = (): void => {}
  readonly #ms: number
  readonly #run: () => void
  readonly #repeats: boolean
  readonly #host

  constructor (world: World, ms: unknown, run: () => void, repeats: boolean) {
    const number = Number(ms)
    this.#ms = number >= 1 && number <= 2 ** 31 - 1 ? number : 1
    this.#run = run
    this.#repeats = repeats
    this.#host = world.current
    this.#start()
  }

  #start (): void {
    this.#cancel = this.#host.later(this.#ms, this.#repeats ? 'interval' : 'timeout', () => {
      if (this.#repeats) this.#start()
      this.#run()
    })
  }

  ref (): this { return this }
  unref (): this { return this }
  hasRef (): boolean { return true }
  close (): this { this.#cancel(); return this }
  refresh (): this { this.#cancel(); this.#start(); return this }
  [Symbol.dispose] (): void { this.#cancel() }
  [Symbol.toPrimitive] (): never { throw new TypeError('the number of a timer is not simulated') }
}

/** What `setImmediate` returns. */
class Immediate {
  constructor (readonly cancel: () => void) {}
  ref (): this { return this }
  unref (): this { return this }
  hasRef (): boolean { return true }
  [Symbol.dispose] (): void { this.cancel() }
}

type Work = (...args: unknown[]) => void

function replaceTimers (world: World): void {
  const setTimeout = (run: Work, ms?: number, ...args: unknown[]) => new Timer(world, ms, () => { run(...args) }, false)
  const setInterval = (run: Work, ms?: number, ...args: unknown[]) => new Timer(world, ms, () => { run(...args) }, true)
  const setImmediate = (run: Work, ...args: unknown[]) =>
    new Immediate(world.soon('immediate', () => { run(...args) }))
  const clearTimer = (timer?: Timer): void => { if (timer instanceof Timer) timer.close() }
  const clearImmediate = (immediate?: Immediate): void => { immediate?.cancel() }

  interface Options { readonly signal?: AbortSignal }
  const sleep = <T>(ms?: number, value?: T, options: Options = {}): Promise<T> => aborted(options.signal, resolve => {
    const timer = setTimeout(() => { resolve(value as T) }, ms)
    return () => { clearTimer(timer) }
  })
  const turn = <T>(value?: T, options: Options = {}): Promise<T> => aborted(options.signal, resolve => {
    const immediate = setImmediate(() => { resolve(value as T) })
    return () => { clearImmediate(immediate) }
  })
  async function * ticks<T> (ms?: number, value?: T, options: Options = {}): AsyncIterable<T> {
    for (;;) yield await sleep(ms, value as T, options)
  }
  Object.defineProperty(setTimeout, promisify.custom, { value: sleep })
  Object.defineProperty(setImmediate, promisify.custom, { value: turn })

  const all = {
    setTimeout, setInterval, setImmediate, clearTimeout: clearTimer, clearInterval: clearTimer, clearImmediate,
  }
  put(globalThis, all)
  put(timers, all)
  put(timersPromises, {
    setTimeout: sleep, setImmediate: turn, setInterval: ticks, scheduler: { wait: sleep, yield: turn },
  })
  put(AbortSignal, {
    timeout (ms: number) {
      const aborting = new AbortController()
      setTimeout(() => { aborting.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError')) }, ms)
      return aborting.signal
    },
  })
}

/** A wait that `signal` ends. */
function aborted<T> (signal: AbortSignal | undefined, start: (resolve: (value: T) => void) => () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      cancel()
      reject(Object.assign(new Error('The operation was aborted', { cause: signal!.reason }),
        { name: 'AbortError', code: 'ABORT_ERR' }))
    }
    let cancel = (): void => {}
    if (signal?.aborted) return abort()
    cancel = start(value => {
      signal?.removeEventListener('abort', abort)
      resolve(value)
    })
    signal?.addEventListener('abort', abort, { once: true })
  })
}

function replaceRandomness (world: World): void {
  const random = () => world.current.random
  // Libraries fill a pool at some time, and keep it from one world to the next: no host's numbers must depend on when.
  const pools = new Random(0, 'pools')
  Math.random = () => random().next()

  const fill = <T extends NodeJS.ArrayBufferView>(view: T, offset = 0, size?: number): T => {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    const from = bytes.length >= poolBytesMin ? pools : random()
    from.fill(bytes.subarray(offset, size === undefined ? undefined : offset + size))
    return view
  }
  const randomBytes = (size: number, done?: (err: null, bytes: Buffer) => void): Buffer | undefined => {
    const bytes = fill(Buffer.alloc(size))
    if (!done) return bytes
    world.soon('randomBytes', () => { done(null, bytes) })
    return undefined
  }
  const randomInt = (low: number, high?: number, done?: unknown): number => {
    if (typeof high === 'function' || done !== undefined) throw new Error('randomInt with a callback is not simulated')
    return high === undefined ? random().below(low) : low + random().below(high - low)
  }
  const randomUUID = (): string => {
    const bytes = fill(Buffer.alloc(16))
    bytes[6] = bytes[6]! & 0x0f | 0x40
    bytes[8] = bytes[8]! & 0x3f | 0x80
    return bytes.toString('hex').replace(/(.{8})(.{4})(.{4})(.{4})(.*)/, '$1-$2-$3-$4-$5')
  }
  put(crypto, { randomBytes, randomInt, randomUUID, randomFillSync: fill, pseudoRandomBytes: randomBytes })
  const { webcrypto } = crypto
  put(webcrypto, { randomUUID, getRandomValues: fill })

  // Of these the result is the same on every machine, and only when it comes is not.
  const { subtle } = webcrypto
  for (const name of ['digest', 'importKey', 'exportKey', 'sign', 'verify', 'encrypt', 'decrypt', 'deriveBits'] as const) {
    const real = (subtle[name] as (...args: unknown[]) => Promise<unknown>).bind(subtle)
    put(subtle, { [name]: (...args: unknown[]) => world.errand(real(...args)) })
  }
  replaceHmac(subtle)
}

/** Of each token that is looked at: here, for the way to a thread and back takes longer than it does. */
function replaceHmac (subtle: typeof crypto.webcrypto.subtle): void {
  const { verify } = subtle
  put(subtle, {
    async verify (...args: Parameters<typeof verify>): Promise<boolean> {
      const [, key, signature, data] = args
      if (key.algorithm.name !== 'HMAC') return await verify.apply(subtle, args)
      const { hash } = key.algorithm as unknown as { readonly hash: { readonly name: string } }
      const right = crypto.createHmac(hash.name.replace('-', ''), crypto.KeyObject.from(key)).update(bytesOf(data)).digest()
      return right.equals(bytesOf(signature))
    },
  })
}

function bytesOf (source: crypto.webcrypto.BufferSource): Uint8Array {
  return ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source)
}

interface Load { readonly idle: number, readonly active: number, readonly utilization: number }

function loadOf (idle: number, active: number): Load {
  return { idle, active, utilization: idle + active > 0 ? active / (idle + active) : 0 }
}

/**
 * Memory is a constant, and load what the world says that turns take: what a node decides by them must not depend on
 * who else uses this machine.
 */
function replaceMachine (world: World): void {
  const eventLoopUtilization = (now?: Load, before?: Load): Load => {
    if (now && before) return loadOf(now.idle - before.idle, now.active - before.active)
    const active = world.current.busyUs / 1000
    const load = loadOf(Math.max(0, world.nowMs - active), active)
    return now ? eventLoopUtilization(load, now) : load
  }
  class PerformanceObserver {
    static supportedEntryTypes = []
    observe (): void {}
    disconnect (): void {}
    takeRecords (): [] { return [] }
  }
  const delay = {
    min: 0,
    max: 0,
    mean: 0,
    stddev: 0,
    exceeds: 0,
    count: 0,
    percentiles: new Map(),
    percentile: () => 0,
    reset () {},
    enable: () => true,
    disable: () => true,
  }
  put(performance, { eventLoopUtilization })
  put(perfHooks, { PerformanceObserver, monitorEventLoopDelay: () => delay })
  put(globalThis, { PerformanceObserver })
  const memory = { rss: usedBytes, heapTotal: usedBytes, heapUsed: usedBytes, external: 0, arrayBuffers: 0 }
  put(process, {
    memoryUsage: Object.assign(() => memory, { rss: () => usedBytes }),
    constrainedMemory: () => memoryBytes,
    availableMemory: () => memoryBytes,
    cpuUsage: (before = { user: 0, system: 0 }) => ({ user: world.current.busyUs - before.user, system: 0 }),
  })
  put(os, {
    totalmem: () => memoryBytes,
    freemem: () => memoryBytes / 2,
    hostname: () => world.current.name,
    loadavg: () => [0, 0, 0],
  })
}
