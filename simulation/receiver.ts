import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Network } from './network.js'
import type { Host, World } from './world.js'

export interface ReceiverOptions {
  readonly address: string
  /** Records of one request. */
  readonly batch: number
  /** It may say that it wants nothing any more. */
  readonly mayStop: boolean
  /** Whether all devices of a user get what is pushed to him. */
  readonly isReady: (userId: string) => boolean
}

interface Event {
  readonly id: string
  readonly data: { readonly userId: string, readonly userSeq: number }
}

const port = 8000
/** For a whole answer, ms. */
const timeoutMs = 2_000
/** Of uplinks, each of which is answered with a downlink to its user. */
const replyEvery = 7
/** Of uplinks, those that it never takes. */
const refusedEvery = 61
/** Of answers: no good one, none at all, that it wants less, that it wants nothing any more. */
const shares = { failed: 0.05, silent: 0.02, busy: 0.02, cut: 0.02, gone: 0.004 }
const keptWaitingMs = 60_000

/** A server of business that a webhook posts accepted uplinks to, and that does not always do as it should. */
export class Receiver {
  readonly host: Host
  /** By user: numbers of uplinks that it has taken or refused. */
  readonly settled = new Map<string, Set<number>>()
  /** Uplinks that it does not want, each as `userId userSeq`. */
  readonly refused = new Set<string>()
  /** By user: ids of the downlinks that it has answered with. */
  readonly replies = new Map<string, Set<string>>()
  /** Uplinks that came while one before them had not been settled: the node must have given that up. */
  readonly early = new Map<string, Set<number>>()
  readonly complaints: string[] = []
  isQuiet = false
  /** Nodes that were told so, by address, and when. */
  readonly #told = new Map<string, number>()

  constructor (readonly world: World, network: Network, readonly options: ReceiverOptions) {
    this.host = world.host('receiver', options.address)
    network.attach(this.host)
    this.host.later(0, 'listens', () => {
      createServer((request, response) => { this.#answer(request, response).catch(() => { response.destroy() }) })
        .listen(port)
    })
  }

  /** As `LEDGERLINE_WEBHOOKS` wants it. */
  get setting (): string {
    const { address, batch } = this.options
    return JSON.stringify([{
      name: 'crm',
      url: `http://${address}:${port}/events`,
      secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
      streams: ['uplinks'],
      batch,
      lingerMs: batch > 1 ? 50 : 0,
      timeoutMs,
      reply: true,
    }])
  }

  /** Whether a node was told that nothing is wanted any more: it asks again once it has started anew. */
  hasToldGone (address: string): boolean { return this.#told.has(address) }

  /** A node's process begins. */
  started (address: string): void { this.#told.delete(address) }

  /**
   * @param last by user, the highest number in the stream
   * @param undelivered uplinks that are on record as given up, each as `userId userSeq`
   * @returns the first uplink that it was not given, in words
   */
  lacks (last: ReadonlyMap<string, number>, undelivered: ReadonlySet<string> = new Set()): string | undefined {
    for (const [userId, userSeq] of last) {
      for (let seq = 1; seq <= userSeq; seq++) {
        if (this.settled.get(userId)?.has(seq) || undelivered.has(`${userId} ${seq}`)) continue
        return `a webhook has not got uplink ${seq} of ${userId}, of ${userSeq}`
      }
    }
    return undefined
  }

  async #answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse(await text(request)) as Event | Event[]
    const events = Array.isArray(body) ? body : [body]
    const from = request.socket.remoteAddress!
    this.#look(from, events)
    const { random } = this.host
    await new Promise<void>(resolve => { this.host.later(random.between(0, 40), 'has done what came', resolve) })
    const drawn = this.isQuiet ? Infinity : random.next()
    let below = 0
    const is = (what: keyof typeof shares): boolean => drawn < (below += shares[what])
    if (is('failed')) response.writeHead(500).end()
    else if (is('silent')) this.host.later(keptWaitingMs, 'answers at last', () => { response.destroy() })
    else if (is('busy')) response.writeHead(503, { 'retry-after': '1' }).end()
    else if (is('cut')) response.destroy()
    else if (this.options.mayStop && is('gone')) {
      this.#told.set(from, this.world.nowMs)
      response.writeHead(410).end()
    } else if (events.some(isRefused)) {
      // Of a batch it is not known which one: each comes once more by itself.
      if (events.length === 1) {
        this.#settle(events)
        this.refused.add(`${events[0]!.data.userId} ${events[0]!.data.userSeq}`)
      }
      response.writeHead(400).end()
    } else {
      this.#settle(events)
      const downlinks = events.flatMap(event => this.#replyTo(event))
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ downlinks }))
    }
  }

  /** The next request with any of a user's records comes when the one before was taken or given up. */
  #look (from: string, events: readonly Event[]): void {
    const toldAtMs = this.#told.get(from)
    if (toldAtMs !== undefined && this.world.nowMs - toldAtMs > timeoutMs + 3_000) {
      this.complaints.push(`${from} sends ${events[0]!.id} on, though nothing is wanted any more`)
    }
    const here = new Set(events.map(({ data: { userId, userSeq } }) => `${userId} ${userSeq}`))
    for (const { data: { userId, userSeq } } of events) {
      const settled = this.settled.get(userId)
      for (let seq = userSeq - 1; seq > 0 && !settled?.has(seq); seq--) {
        if (!here.has(`${userId} ${seq}`)) add(this.early, userId, seq)
      }
    }
  }

  #settle (events: readonly Event[]): void {
    for (const { data: { userId, userSeq } } of events) add(this.settled, userId, userSeq)
  }

  #replyTo ({ id, data: { userId, userSeq } }: Event): object[] {
    const messageId = `${userId}-reply-${userSeq}`
    // What it has answered once, it answers again.
    const isReady = this.replies.get(userId)?.has(messageId) || this.options.isReady(userId)
    if (userSeq % replyEvery !== 0 || !isReady) return []
    add(this.replies, userId, messageId)
    return [{ inReplyTo: id, messageId, payload: messageId }]
  }
}

function isRefused ({ data: { userSeq } }: Event): boolean { return userSeq % refusedEvery === 0 }

function add<T> (to: Map<string, Set<T>>, userId: string, value: T): void {
  const values = to.get(userId) ?? new Set<T>()
  to.set(userId, values.add(value))
}
