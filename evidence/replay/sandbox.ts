import { Worker } from 'node:worker_threads'
import type { LogReader } from '../../ledger/log.js'
import { ledger } from '../../schemas/streams.js'
import type { ComparisonReport } from './comparison.js'
import { findFold } from './foreign-fold.js'
import { listMaxDefault, rangesFor, replayed, type ReplayedBlock, type ReplayOptions, type ReplayRange } from './range.js'
import type { EncodedBlock, FromSandbox, SandboxData, ToSandbox } from './sandbox-worker.js'

/** Entries that go to the sandbox at once, or a block more, and messages of them on their way. */
const batchMax = 2_000
const batchesMax = 4
/** A fold that takes longer for one batch does not come back. */
const patienceMs = 60_000
const heapMbMax = 4_096

/**
 * Compares another build's fold with this one's, entry by entry. The other one runs in a thread of its own, without
 * environment, handles or any module of Node: all that it can do is compute.
 *
 * @param path see `findFold`
 * @throws Error where the path leads to no fold, or it needs too much memory or time
 */
export async function compareFolds (
  log: LogReader, ranges: readonly ReplayRange[], path: string, options: ReplayOptions = {}
): Promise<ComparisonReport> {
  const sandbox = new Sandbox({ file: await findFold(path), listMax: options.listMax ?? listMaxDefault })
  try {
    await sandbox.room(1)
    for (const range of rangesFor(log, ranges, options.userId)) {
      let batch: EncodedBlock[] = []
      let entries = 0
      const send = async () => {
        if (batch.length === 0) return
        await sandbox.send({ type: 'blocks', blocks: batch })
        batch = []
        entries = 0
      }
      for await (const block of replayed(log, range, options)) {
        if (block.entries.length === 0) continue
        batch.push(encoded(block))
        entries += block.entries.length
        if (entries >= batchMax) await send()
      }
      await send()
      sandbox.tell({ type: 'endPartition' })
    }
    return await sandbox.finish()
  } finally {
    await sandbox.end()
  }
}

/** In the ledger's own code: a thread takes objects apart and puts them together at a third of the speed. */
function encoded ({ judged, entries }: ReplayedBlock): EncodedBlock {
  const { partition, offset } = entries[0]!.position
  const indexes = entries.map(({ position }) => position.index)
  const body = ledger.encodeBlock(entries.map(({ entry }) => entry))
  return { judged, partition, offset, indexes, body: new Uint8Array(body) } // a copy: the next block goes over it
}

class Sandbox {
  readonly #worker: Worker
  /** Messages that it has not answered; loading the fold is the first. */
  #unanswered = 1
  #failure: Error | undefined
  #report: ComparisonReport | undefined
  #changed = () => {}

  constructor (data: SandboxData) {
    this.#worker = new Worker(new URL('./sandbox-worker.js', import.meta.url), {
      workerData: data,
      env: {},
      execArgv: ['--experimental-vm-modules', '--no-warnings'],
      resourceLimits: { maxOldGenerationSizeMb: heapMbMax },
    })
    this.#worker.on('message', (message: FromSandbox) => { this.#received(message) })
    this.#worker.on('error', err => { this.#fail(errorOf(err)) })
    this.#worker.on('exit', code => { this.#fail(new Error(`the sandbox of the fold ended with ${code}`)) })
  }

  /** Sends entries once there is room for them. */
  async send (message: ToSandbox & { type: 'blocks' }): Promise<void> {
    await this.room(batchesMax)
    this.#unanswered++
    this.tell(message)
  }

  tell (message: ToSandbox): void {
    this.#worker.postMessage(message)
  }

  /** Resolves once fewer than `max` messages are unanswered. */
  async room (max: number): Promise<void> {
    await this.#until(() => this.#unanswered < max)
  }

  async finish (): Promise<ComparisonReport> {
    this.tell({ type: 'finish' })
    await this.#until(() => this.#report !== undefined)
    return this.#report!
  }

  async end (): Promise<void> {
    await this.#worker.terminate()
  }

  #received (message: FromSandbox): void {
    switch (message.type) {
      case 'ready': this.#unanswered--; break
      case 'unusable': this.#failure ??= new Error(message.message); break
      case 'report': this.#report = message.report
    }
    this.#changed()
  }

  #fail (error: Error): void {
    this.#failure ??= error
    this.#changed()
  }

  async #until (met: () => boolean): Promise<void> {
    while (!met()) {
      if (this.#failure) throw this.#failure
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`the fold has not come back from an entry for ${patienceMs / 1000} s`))
        }, patienceMs)
        this.#changed = () => { clearTimeout(timer); resolve() }
      })
    }
    if (this.#failure) throw this.#failure
  }
}

function errorOf (err: unknown): Error {
  if ((err as NodeJS.ErrnoException).code !== 'ERR_WORKER_OUT_OF_MEMORY') return err as Error
  return new Error(`the fold needs more than ${heapMbMax} MB: replay one user or one partition`, { cause: err })
}
