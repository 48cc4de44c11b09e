import { type Address, type Answer, Api, jsonOf } from './api.js'
import type { Device } from './device.js'
import type { Network } from './network.js'
import type { Host, World } from './world.js'

export interface OperatorOptions {
  readonly address: string
  readonly apiKey: string
  /** Nodes that take what is asked of users, and those that keep tables. */
  readonly push: readonly Address[]
  readonly projections: readonly Address[]
  /** The right time of day, ms since 1970. */
  readonly wallMs: () => number
  /** Nothing else happens: then what is told must be the plain truth. */
  readonly isCalm: boolean
}

interface Move { readonly uplinksLost: number, readonly downlinksLost: number }

interface DrainState {
  readonly drainId: string
  readonly state: string
  readonly total: number
  readonly asked: number
  readonly left: number
  readonly closed: number
  readonly resumed: number
  /** Absent while the node has yet to begin. */
  readonly moves?: readonly Move[]
}

export const tablesRebuilt = ['presence', 'routing', 'nodes', 'connections', 'snapshots'] as const

/** An operator, and services that act on users: kicks, bans, drains, rebuilds, redeliveries. */
export class Operator {
  readonly host: Host
  readonly complaints: string[] = []
  /** How often a kick was asked for, by user. */
  readonly kicks = new Map<string, number>()
  readonly banned = new Set<string>()
  /** What has yet to come to its end. */
  readonly pending = new Set<string>()
  readonly #api: Api
  #count = 0
  #asked = 0

  constructor (world: World, network: Network, readonly options: OperatorOptions) {
    this.host = world.host('operator', options.address)
    this.#api = new Api(this.host, options.apiKey)
    network.attach(this.host)
  }

  /** All connections of a user, or the one of this device alone. */
  kick ({ options: { userId }, connectionId }: Device, isAlone: boolean): void {
    this.kicks.set(userId, (this.kicks.get(userId) ?? 0) + 1)
    const path = isAlone && connectionId !== ''
      ? `/v1/connections/${connectionId}?userId=${userId}&reason=one`
      : `/v1/users/${userId}/connections?reason=all`
    this.#do('kicks', userId, async () => {
      const answer = await this.#ask(this.options.push, 'DELETE', path)
      this.#expect(answer, `kick of ${userId}`, 202, 404)
    })
  }

  /** Until a time that any clock must know, or until it is lifted before. */
  ban ({ options: { userId, deviceId } }: Device, isAlone: boolean, ms: number, liftedAfterMs: number): void {
    this.banned.add(userId)
    const banId = `ban-${++this.#count}`
    const untilMs = this.options.wallMs() + Math.round(ms)
    const body = { userId, ...isAlone ? { deviceId } : {}, untilMs, banId, reason: 'for a while' }
    this.#do('bans', userId, async () => {
      // A node whose clock is ahead takes its end for one that has passed.
      const isStored = await this.#until(untilMs, 'POST', '/v1/bans', body, [202])
      if (!isStored || liftedAfterMs >= ms) return
      await this.#api.wait(liftedAfterMs, 'lifts a ban')
      await this.#until(untilMs, 'DELETE', `/v1/bans/${banId}?userId=${userId}`, undefined, [202, 404])
    })
  }

  /** Has a node's connections leave, looks at what it reports, and has it take connections again. */
  drain (nodeId: string, percent: number, withinMs: number): void {
    this.#do('drains', nodeId, async () => {
      const asked = await this.#ask(this.options.push, 'POST', `/v1/nodes/${nodeId}/drain`, { percent, withinMs })
      // The node, or every other one, may be down; its clients may have nowhere to go.
      this.#expect(asked, `drain of ${nodeId}`, 202, 400, 404)
      if (asked.status === 400 || asked.status === 404) return
      await this.#api.wait(withinMs + 2_000, 'looks at a drain')
      const answer = await this.#ask(this.options.push, 'GET', `/v1/nodes/${nodeId}/drain`)
      const state = answer.status === 200 ? jsonOf(answer) as DrainState : undefined
      if (state && asked.status === 202 && state.drainId === jsonOf(asked)?.drainId) this.#look(nodeId, state)
      // A node that is down is asked once it is up again; one that holds no connections has never begun.
      const end = () => this.#ask(this.options.push, 'POST', `/v1/nodes/${nodeId}/drain`, { percent: 0 })
      while (![202, 400].includes((await end()).status)) await this.#api.wait(2_000, 'ends a drain')
    })
  }

  rebuild (table: typeof tablesRebuilt[number]): void {
    this.#do('rebuilds', table, async () => {
      const { status, text } = await this.#api.ask(
        this.host.random.pick(this.options.projections), 'POST', '/v1/rebuilds', { table }, 60_000)
      if (!this.options.isCalm || status !== 200) return
      const last = jsonOf({ status, text: text.trim().split('\n').at(-1) ?? '' })
      if (last?.type !== 'done') this.complaints.push(`a rebuild of ${table} ended with ${JSON.stringify(last)}`)
      else if (last.differences.length > 0) {
        this.complaints.push(`a rebuild of ${table} found ${JSON.stringify(last.differences.slice(0, 3))}`)
      }
    })
  }

  /** Some of what the device has got, once more. */
  redeliver (device: Device, count: number): void {
    const { options: { userId, deviceId } } = device
    const seqs = [...device.bySeq.keys()].slice(-count)
    const [fromSeq, toSeq] = [seqs[0], seqs.at(-1)]
    if (fromSeq === undefined || toSeq === undefined || toSeq - fromSeq > 100) return
    const body = { deviceId, fromSeq, toSeq, requestId: `again-${++this.#count}`, reason: 'asked for' }
    this.#do('redelivers', device.name, async () => {
      const answer = await this.#ask(this.options.push, 'POST', `/v1/users/${userId}/redeliveries`, body)
      this.#expect(answer, `redelivery to ${device.name}`, 202, 404)
    })
  }

  /** What a drain tells of itself must fit together, whatever went wrong. */
  #look (nodeId: string, { state, total, asked, left, closed, resumed, moves = [] }: DrainState): void {
    const says = `the drain of ${nodeId} (${state}) says total ${total}, asked ${asked}, left ${left}, ` +
      `closed ${closed}, resumed ${resumed}, with ${moves.length} moves`
    const isOdd = asked > total || left > total || closed > left || resumed > left
    if (isOdd) this.complaints.push(`${says}: that can not be`)
    if (state === 'done' && moves.length !== left) this.complaints.push(`${says}: not one for each that left`)
    if (!this.options.isCalm) return
    const lost = moves.filter(({ uplinksLost, downlinksLost }) => uplinksLost > 0 || downlinksLost > 0)
    if (lost.length > 0) this.complaints.push(`${says}, of which ${JSON.stringify(lost)} lost something`)
  }

  #do (what: string, name: string, work: () => Promise<void>): void {
    const one = `${what} ${name} (${++this.#asked})`
    this.pending.add(one)
    this.host.later(0, what, () => {
      work().catch((err: Error) => { this.complaints.push(`${what}: ${err.stack}`) })
        .finally(() => { this.pending.delete(one) })
    })
  }

  async #ask (nodes: readonly Address[], method: string, path: string, body?: object): Promise<Answer> {
    return await this.#api.ask(this.host.random.pick(nodes), method, path, body, 10_000)
  }

  /** Nobody may have answered, or said that it can't be done just now. */
  #expect ({ status, text }: Answer, what: string, ...good: number[]): void {
    if (status > 0 && status < 500 && !good.includes(status)) this.complaints.push(`${what}: ${status} ${text}`)
  }

  /** Asks again and again, until it is done or the time has passed. */
  async #until (
    endMs: number, method: string, path: string, body: object | undefined, good: readonly number[]
  ): Promise<boolean> {
    while (this.options.wallMs() < endMs) {
      const { status } = await this.#ask(this.options.push, method, path, body)
      if (good.includes(status)) return true
      await this.#api.wait(this.host.random.between(200, 2_000), 'asks again')
    }
    return false
  }
}
