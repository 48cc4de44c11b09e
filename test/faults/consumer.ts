import { readUplinks } from './node-process.js'

/** What a client was told of its uplinks. */
interface Acked {
  readonly userId: string
  readonly sessionId: string
  /** By seq, the `userSeq` that its ack named; 0 where the ack named none. */
  readonly acked: ReadonlyMap<number, number>
}

const complaintsMax = 20

/**
 * A business service that consumes `uplinks` as docs/protocol.md tells it to: from where it was, and without repeats,
 * for an owner of a partition that takes over may publish again what its predecessor has published, with the same
 * `userSeq`. It compares each uplink with what its client was acked, so it is asked once the clients are quiet.
 */
export class Consumer {
  /** What is wrong with the stream: the first of it. */
  readonly complaints: string[] = []
  readonly #clients: ReadonlyMap<string, Acked>
  readonly #seqs = new Map<string, number>()
  readonly #userSeqs = new Map<string, number>()
  #cursor = ''
  #taken = 0

  constructor (clients: readonly Acked[]) {
    this.#clients = new Map(clients.map(client => [client.sessionId, client]))
  }

  /** Of a session, what it has taken up to; 0 for nothing. */
  lastSeq (sessionId: string): number { return this.#seqs.get(sessionId) ?? 0 }

  /** Takes what there is now, and tells how many it has taken altogether. */
  async readOn (node: { readonly http: string }): Promise<number> {
    for (const { userId, userSeq, sessionId, seq, payload, cursor } of await readUplinks(node, this.#cursor)) {
      this.#cursor = cursor
      const lastUserSeq = this.#userSeqs.get(userId) ?? 0
      if (userSeq <= lastUserSeq) continue
      this.#taken++
      const place = `${sessionId} ${seq} of ${userId} ${userSeq}`
      if (userSeq !== lastUserSeq + 1) this.#complain(`${place}: ${lastUserSeq} was the last of the user`)
      const lastSeq = this.lastSeq(sessionId)
      if (seq !== lastSeq + 1) this.#complain(`${place}: ${lastSeq} was the last of the session`)
      if (payload !== `${sessionId} ${seq}`) this.#complain(`${place}: its payload is ${payload}`)
      const client = this.#clients.get(sessionId)
      const acked = client?.acked.get(seq)
      if (client?.userId !== userId) this.#complain(`${place}: no such client`)
      if (acked !== 0 && acked !== userSeq) this.#complain(`${place}: its ack named ${acked}`)
      this.#userSeqs.set(userId, userSeq)
      this.#seqs.set(sessionId, seq)
    }
    return this.#taken
  }

  #complain (complaint: string): void {
    if (this.complaints.length < complaintsMax) this.complaints.push(complaint)
  }
}
