import { type Address, Api } from './api.js'
import type { Network } from './network.js'
import type { Host, World } from './world.js'

/** A stream whose records are numbered without a gap, for each user or room. */
export interface NumberedStream {
  readonly name: 'uplinks' | 'presence' | 'receipts' | 'offline' | 'posts'
  readonly key: 'userId' | 'roomId'
  readonly number: 'userSeq' | 'presenceSeq' | 'receiptSeq' | 'offlineSeq' | 'roomSeq'
}

export const uplinksRead: NumberedStream = { name: 'uplinks', key: 'userId', number: 'userSeq' }
export const postsRead: NumberedStream = { name: 'posts', key: 'roomId', number: 'roomSeq' }
/** One of these is read by another service. */
export const othersRead: readonly NumberedStream[] = [
  { name: 'presence', key: 'userId', number: 'presenceSeq' },
  { name: 'receipts', key: 'userId', number: 'receiptSeq' },
  { name: 'offline', key: 'userId', number: 'offlineSeq' },
  postsRead,
]

export interface ConsumerOptions {
  readonly name: string
  readonly address: string
  readonly apiKey: string
  readonly nodes: readonly Address[]
  readonly of: NumberedStream
}

type Line = { readonly cursor: string, readonly hole?: object } & Partial<Record<NumberedStream['key'], string>> &
  Partial<Record<NumberedStream['number'], number>>

/** An answer that follows has an empty line in every 15 s. */
export const silentMs = 25_000

/** A service that reads a whole stream over HTTP, from whichever node, and goes on behind the last line. */
export class Consumer {
  readonly host: Host
  /** By user or room: the highest number that was read. */
  readonly seen = new Map<string, number>()
  readonly complaints: string[] = []
  holes = 0
  #cursor = ''
  readonly #api: Api

  constructor (world: World, network: Network, readonly options: ConsumerOptions) {
    this.host = world.host(options.name, options.address)
    this.#api = new Api(this.host, options.apiKey)
    network.attach(this.host)
    this.#goOn()
  }

  #goOn (): void {
    const { host, options: { nodes, of: { name } } } = this
    host.later(host.random.between(100, 2_000), `reads ${name}`, () => {
      const after = this.#cursor === '' ? '' : `&after=${this.#cursor}`
      const path = `/v1/streams/${name}?follow=true${after}`
      this.#api.lines(host.random.pick(nodes), path, silentMs, line => { this.#take(line) })
        .then(status => {
          if (status >= 400 && status < 500) this.complaints.push(`a read of ${name} was answered with ${status}`)
          this.#goOn()
        })
    })
  }

  #take (text: string): void {
    const { name, key, number } = this.options.of
    const line = JSON.parse(text) as Line
    this.#cursor = line.cursor
    if (line.hole) this.holes++
    const [whose, seq] = [line[key], line[number]]
    if (whose === undefined || seq === undefined) return
    const last = this.seen.get(whose) ?? 0
    // A record may stand there twice, as in Kafka; behind a hole nobody knows what comes next.
    if (seq > last + 1 && this.holes === 0) this.complaints.push(`read ${seq} of ${whose} in ${name} after ${last}`)
    this.seen.set(whose, Math.max(last, seq))
  }
}
