import { Cluster, type Redis } from 'ioredis'
import type { Slice, TableKeys } from './redis-keys.js'
import { fieldsOf } from './redis-rows.js'
import type { ReadAnswer, TableScripts } from './redis-scripts.js'

/** Rows that one call reads: what one script answers with, and keeps Redis for, has a bound. */
export const rowsPerCall = 128
/** What a question counts for, as a share of what a call may read. */
const listCost = 1 / 64
const positionCost = 1 / 512

interface Question {
  readonly partition: number
  readonly kind: 'rows' | 'list' | 'position'
  readonly generation: string
  /** The hash of the table, and what else is read. */
  readonly names: readonly string[]
  readonly cost: number
  resolve (answer: ReadAnswer): void
  reject (err: unknown): void
}

/**
 * Asks Redis for what stands in tables. What is asked in one turn of the event loop goes there together, so that a node
 * that looks at all of its partitions makes a call or two, and not one for each. A Cluster takes in one call only what
 * is of one partition: the others are in other slots.
 */
export class TableReads {
  readonly #scripts: TableScripts
  readonly #keys: TableKeys
  readonly #identity: string
  readonly #isCluster: boolean
  #waiting: Question[] = []

  constructor (redis: Redis | Cluster, scripts: TableScripts, keys: TableKeys, identity: string) {
    this.#isCluster = redis instanceof Cluster
    this.#scripts = scripts
    this.#keys = keys
    this.#identity = identity
  }

  /**
   * @param rows at most `rowsPerCall`
   * @returns the generation that is live, '' for none, and the rows in their order where it is the one asked for
   */
  async rows (
    slice: Slice, generation: string, rows: readonly string[]
  ): Promise<{ live: string, rows: Array<Map<string, any>> }> {
    const names = [this.#keys.meta(slice), ...rows.map(key => this.#keys.row(slice, generation, key))]
    const [live, ...found] = await this.#ask(slice, 'rows', generation, names, rows.length / rowsPerCall)
    return { live, rows: found.map(flat => fieldsOf(flat as string[])) }
  }

  /** As `rows`, for the keys of all rows of a table whose keys are listed. */
  async list (slice: Slice, generation: string): Promise<{ live: string, keys: string[] }> {
    const names = [this.#keys.meta(slice), this.#keys.list(slice, generation)]
    const [live, keys = []] = await this.#ask(slice, 'list', generation, names, listCost)
    return { live, keys: keys as string[] }
  }

  /** `hasIndex` says whether the index was kept up to there. */
  async position (slice: Slice): Promise<{ live: string, next: bigint, atMs: number, hasIndex: boolean }> {
    const [live, next, atMs, index] = await this.#ask(slice, 'position', '', [this.#keys.meta(slice)], positionCost)
    return { live, next: BigInt(next as string ?? 0), atMs: Number(atMs ?? 0), hasIndex: index === next }
  }

  #ask (
    { partition }: Slice, kind: Question['kind'], generation: string, names: readonly string[], cost: number
  ): Promise<ReadAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => { this.#flush() })
      this.#waiting.push({ partition, kind, generation, names, cost, resolve, reject })
    })
  }

  #flush (): void {
    const waiting = this.#waiting
    this.#waiting = []
    const bySlot = new Map<number, Question[]>()
    for (const question of waiting) {
      const slot = this.#isCluster ? question.partition : 0
      const questions = bySlot.get(slot)
      if (questions) questions.push(question)
      else bySlot.set(slot, [question])
    }
    for (const questions of bySlot.values()) for (const together of inCalls(questions)) this.#send(together)
  }

  async #send (questions: readonly Question[]): Promise<void> {
    const names = questions.flatMap(({ names }) => names)
    const argv = questions.flatMap(({ kind, generation, names }) => [kind, generation, names.length - 1])
    try {
      const answers = await this.#scripts.tableRead(names.length, names, [this.#identity, ...argv])
      for (const [i, { resolve }] of questions.entries()) resolve(answers[i]!)
    } catch (err) {
      // Somebody else's key stands in the place of one of ours: the others are not to suffer for it.
      const isOne = questions.length === 1 || !(err as Error).message.includes('WRONGTYPE')
      for (const question of questions) {
        if (isOne) question.reject(err)
        else this.#send([question])
      }
    }
  }
}

/** As many as fit together into a call. */
function * inCalls (questions: readonly Question[]): Iterable<Question[]> {
  let together: Question[] = []
  let cost = 0
  for (const question of questions) {
    if (together.length > 0 && cost + question.cost > 1) {
      yield together
      together = []
      cost = 0
    }
    together.push(question)
    cost += question.cost
  }
  yield together
}
