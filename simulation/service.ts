import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Network } from './network.js'
import type { Host, World } from './world.js'

export interface ServiceOptions {
  readonly address: string
  readonly apiKey: string
  /** Where nodes take requests. */
  readonly nodes: readonly { readonly address: string, readonly port: number }[]
  /** Ms between two pushes to one user, about. */
  readonly pushEveryMs: number
}

/** How long it waits for an answer before it asks another node. */
const answerMsMax = 5_000

/** A business service: pushes to each user, one message after the other, until a node has said that it is queued. */
export class Service {
  readonly host: Host
  /** Message ids that were queued, by user, in the order of that. */
  readonly queued = new Map<string, string[]>()
  readonly complaints: string[] = []
  isQuiet = false
  /** Of a push that has no answer yet. */
  pending = 0
  /** Some requests go over connections that are open already, as those of most services do. */
  readonly #agent = new Agent({ keepAlive: true })

  constructor (world: World, network: Network, readonly options: ServiceOptions) {
    this.host = world.host('business', options.address)
    network.attach(this.host)
  }

  /** @param isReady whether the user has all its sessions: what is pushed before goes to the first one alone */
  serve (userId: string, isReady: () => boolean): void {
    this.queued.set(userId, [])
    this.#next(userId, 0, isReady)
  }

  #next (userId: string, count: number, isReady: () => boolean): void {
    const { host, options: { pushEveryMs } } = this
    host.later(host.random.between(0.2, 1.8) * pushEveryMs, `has something for ${userId}`, () => {
      if (this.isQuiet) return
      if (!isReady()) return this.#next(userId, count, isReady)
      this.pending++
      this.#push(userId, `${userId}-${count}`).then(() => {
        this.pending--
        this.#next(userId, count + 1, isReady)
      })
    })
  }

  async #push (userId: string, messageId: string): Promise<void> {
    const { host, options: { nodes } } = this
    for (;;) {
      const body = { to: { userIds: [userId] }, messageId, payload: messageId }
      const outcome = await this.#ask(host.random.pick(nodes), body)
      if (outcome === 'queued' || outcome === 'duplicate') {
        this.queued.get(userId)!.push(messageId)
        return
      }
      if (outcome !== 'again') this.complaints.push(`push of ${messageId}: ${outcome}`)
      await new Promise<void>(resolve => { host.later(host.random.between(100, 1_000), 'asks again', resolve) })
    }
  }

  /** @returns the answer behind its status; `0` for none */
  async get ({ address, port }: { address: string, port: number }, path: string): Promise<string> {
    return await this.host.as(async () => await new Promise(resolve => {
      const asking = request({ host: address, port, path, agent: false, signal: AbortSignal.timeout(answerMsMax) })
      const failed = (): void => { resolve('0') }
      asking.on('error', failed)
      asking.on('response', response => {
        text(response).then(answer => { resolve(`${response.statusCode} ${answer}`) }, failed)
      })
      asking.end()
    }))
  }

  /** @returns the status of the one user; `again` where nobody answered, or could not just now */
  async #ask ({ address, port }: { address: string, port: number }, body: object): Promise<string> {
    const { host } = this
    return await new Promise(resolve => {
      const asking = request({
        host: address,
        port,
        method: 'POST',
        path: '/v1/downlinks',
        agent: host.random.chance(0.7) && this.#agent,
        headers: { authorization: `Bearer ${this.options.apiKey}`, 'content-type': 'application/json' },
        signal: AbortSignal.timeout(answerMsMax),
      })
      asking.on('error', () => { resolve('again') })
      asking.on('response', response => {
        text(response).then(answer => {
          if (response.statusCode !== 202) return resolve(response.statusCode! >= 500 ? 'again' : `${response.statusCode} ${answer}`)
          const { users: [user] } = JSON.parse(answer) as { users: Array<{ status: string }> }
          resolve(user!.status)
        }, () => { resolve('again') })
      })
      asking.end(JSON.stringify(body))
    })
  }
}
