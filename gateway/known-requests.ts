import { randomInt } from 'node:crypto'
import type { Links, LocalEnds, RequestKnown } from '../actors/links.js'
import { contentOf } from '../actors/digest.js'
import type { Known } from '../actors/requests.js'
import type { LogReader } from '../ledger/log.js'
import { partitionOf } from '../schemas/partitioning.js'
import type { DownlinkCommand } from '../schemas/records.js'
import { ledger } from '../schemas/streams.js'

export interface KnownRequestsDeps {
  readonly log: LogReader
  readonly links: Links & Pick<LocalEnds, 'requestKnown'>
  readonly nodeId: string
  /** How long an answer is waited for. */
  readonly answerMs?: number
}

const answerMsDefault = 2_000

/** What a business service wants posted; `roomId` is the room's key. */
interface PostedRequest {
  readonly roomId: string
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
}

/**
 * Asks user actors whether they have had a request before (decision 9), so that who repeats one is told. At best
 * effort: whoever is not answered in time takes the request for a new one, and the fold drops a repeat all the same.
 */
export class KnownRequests {
  readonly #deps: KnownRequestsDeps
  readonly #partitions: number
  readonly #asked = new Map<number, (known: Known) => void>()
  /** Not from 1: an answer to the process that had our node id before us must not meet a question of ours. */
  #lastId = randomInt(1 << 28)

  constructor (deps: KnownRequestsDeps) {
    this.#deps = deps
    this.#partitions = deps.log.partitions(ledger)
    deps.links.requestKnown = answer => { this.#answered(answer) }
  }

  /** @returns what each user has had, in the order of the command; `first` also where nobody says */
  async of ({ userIds, messageId, service, payload }: DownlinkCommand): Promise<Known[]> {
    const content = contentOf(service, payload)
    const ends = new Map<number, Promise<bigint>>()
    const askIds: number[] = []
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Known>(resolve => {
      timer = setTimeout(resolve, this.#deps.answerMs ?? answerMsDefault, 'first')
    })
    const answers = userIds.map(userId => {
      const partition = partitionOf(userId, this.#partitions)
      const askId = ++this.#lastId
      const known = new Promise<Known>(resolve => { this.#asked.set(askId, resolve) })
      askIds.push(askId)
      let end = ends.get(partition)
      if (!end) ends.set(partition, end = this.#end(partition))
      end.then(asOf => {
        const { links, nodeId } = this.#deps
        links.toUser({ type: 'askRequest', userId, partition, nodeId, askId, messageId, content, asOf })
      }).catch(() => {}) // nobody says then
      return Promise.race([known, late])
    })
    try {
      return await Promise.all(answers)
    } finally {
      clearTimeout(timer)
      for (const askId of askIds) this.#asked.delete(askId)
    }
  }

  /**
   * @param asOf as in `AskPost`
   * @returns what the room has had of this id; `first` also where nobody says
   */
  async ofPost (
    { roomId, messageId, service, payload }: PostedRequest, partition: number, asOf: bigint
  ): Promise<Known> {
    const { links, nodeId, answerMs = answerMsDefault } = this.#deps
    const askId = ++this.#lastId
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Known>(resolve => { timer = setTimeout(resolve, answerMs, 'first') })
    const known = new Promise<Known>(resolve => { this.#asked.set(askId, resolve) })
    const content = contentOf(service, payload)
    links.toRoom({ type: 'askPost', roomId, partition, nodeId, askId, messageId, content, asOf })
    try {
      return await Promise.race([known, late])
    } finally {
      clearTimeout(timer)
      this.#asked.delete(askId)
    }
  }

  async #end (partition: number): Promise<bigint> {
    return (await this.#deps.log.bounds(ledger, partition)).next
  }

  #answered ({ askId, known }: RequestKnown): void {
    this.#asked.get(askId)?.(known)
  }
}
