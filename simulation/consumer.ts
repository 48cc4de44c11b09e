import { type Address, Api } from './api.js'
import type { Network } from './network.js'
import type { Host, World } from './world.js'

export interface ConsumerOptions {
  readonly address: string
  readonly apiKey: string
  readonly nodes: readonly Address[]
}

interface Line {
  readonly cursor: string
  readonly userId?: string
  readonly userSeq?: number
  readonly hole?: object
}

/** An answer that follows has an empty line in every 15 s. */
const silentMs = 25_000

/** A service that reads all accepted uplinks over HTTP, from whichever node, and goes on behind the last one. */
export class Consumer {
  readonly host: Host
  /** By user: the highest number that was read. */
  readonly seen = new Map<string, number>()
  readonly complaints: string[] = []
  holes = 0
  #cursor = ''
  readonly #api: Api

  constructor (world: World, network: Network, readonly options: ConsumerOptions) {
    this.host = world.host('consumer', options.address)
    this.#api = new Api(this.host, options.apiKey)
    network.attach(this.host)
    this.#goOn()
  }

  #goOn (): void {
    const { host, options: { nodes } } = this
    host.later(host.random.between(100, 2_000), 'reads uplinks', () => {
      const after = this.#cursor === '' ? '' : `&after=${this.#cursor}`
      const path = `/v1/uplinks?follow=true${after}`
      this.#api.lines(host.random.pick(nodes), path, silentMs, line => { this.#take(line) })
        .then(status => {
          if (status >= 400 && status < 500) this.complaints.push(`a read of uplinks was answered with ${status}`)
          this.#goOn()
        })
    })
  }

  #take (text: string): void {
    const line = JSON.parse(text) as Line
    this.#cursor = line.cursor
    if (line.hole) this.holes++
    if (line.userId === undefined) return
    const last = this.seen.get(line.userId) ?? 0
    // A record may stand there twice, as in Kafka; behind a hole nobody knows what comes next.
    if (line.userSeq! > last + 1 && this.holes === 0) {
      this.complaints.push(`read uplink ${line.userSeq} of ${line.userId} after ${last}`)
    }
    this.seen.set(line.userId, Math.max(last, line.userSeq!))
  }
}
