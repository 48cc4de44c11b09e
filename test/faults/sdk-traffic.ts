import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { readUplinks, request, tokenFor, until, type UplinkLine } from './node-process.js'
import type { AppState, AppStory, Order } from './sdk-apps.js'

const program = fileURLToPath(new URL('sdk-apps.js', import.meta.url))

/** 250 users with a phone (TCP) and a browser (WebSocket) each, told of things in groups of 25. */
const userIds = Array.from({ length: 250 }, (_, i) => `user${i}`)
const groups = Array.from({ length: 10 }, (_, g) => userIds.filter((_, i) => i % 10 === g))
const uplinkEveryMs = 2_500
const uplinksMax = 5
const pushEveryMs = 1_500

/** How long the last work may take until all is quiet. */
const quietWithinMs = 120_000

/** How long it may take until traffic flows again: the unlucky wait for half a minute before they try again. */
const healsWithinMs = 180_000

interface Where { readonly http: string }

export interface SdkTrafficOptions {
  readonly ipConfig: string
  readonly directory: string
  /** Who takes downlinks just now. Whoever gets no answer asks another one, with the same message id. */
  readonly push: () => readonly Where[]
}

/** 500 applications on the SDK in two processes of their own, with traffic both ways that can be judged. */
export class SdkTraffic {
  readonly #push: SdkTrafficOptions['push']
  readonly #processes: Apps[] = []
  /** Message ids that were queued, in order, by group. */
  readonly #pushed: string[][] = groups.map(() => [])
  readonly #complaints: string[] = []
  #requests = 0
  #isPaused = false
  #isStopped = false

  /** Resolves once all are connected, and the first uplinks and downlinks have gone through. */
  static async start (t: Test, { ipConfig, directory, push }: SdkTrafficOptions): Promise<SdkTraffic> {
    const traffic = new SdkTraffic(push)
    t.teardown(async () => { await traffic.#stop() })
    mkdirSync(directory, { recursive: true })
    const tokens = await Promise.all(userIds.map(async userId => [userId, await tokenFor(userId)] as const))
    for (const [transport, deviceId] of [['tcp', 'phone'], ['ws', 'browser']] as const) {
      const apps = new Apps()
      traffic.#processes.push(apps)
      const options = { ipConfig, transport, deviceId, tokens, directory, uplinkEveryMs, uplinksMax }
      await apps.ask({ do: 'begin', options })
    }
    // What is requested before goes to the first session that opens, and to no other.
    await until(async () => (await traffic.states()).every(({ isConnected }) => isConnected), 100)
    await traffic.#busy(true)
    for (const group of groups.keys()) traffic.#keepPushing(group)
    await traffic.flows()
    return traffic
  }

  private constructor (push: SdkTrafficOptions['push']) {
    this.#push = push
  }

  async states (): Promise<AppState[]> {
    return (await Promise.all(this.#processes.map(async apps => await apps.ask({ do: 'states' })))).flat()
  }

  /** How often any application was told that it is not connected, and that it has moved. */
  async interruptions (): Promise<{ disconnected: number, migrated: number }> {
    const states = await this.states()
    const sum = (field: 'disconnected' | 'migrated') => states.reduce((sum, state) => sum + state[field], 0)
    return { disconnected: sum('disconnected'), migrated: sum('migrated') }
  }

  /** Waits until each has been acked something new, and has got something new. @throws where one has not in time */
  async flows (withinMs = Infinity): Promise<void> {
    const before = await this.states()
    for (const end = Date.now() + withinMs; ; await sleep(100)) {
      const waiting = (await this.states()).filter(({ accepted, seen }, i) =>
        accepted <= before[i]!.accepted || seen <= before[i]!.seen)
      if (waiting.length === 0) return
      if (Date.now() < end) continue
      const some = waiting.slice(0, 5).map(state => JSON.stringify(state))
      throw new Error(`${waiting.length} got nothing new within ${withinMs} ms: ${some.join(' ')}`)
    }
  }

  /** The same within a time, which is not the judge of speed but of whether it comes to it at all. */
  async heals (t: Test): Promise<void> {
    const startMs = performance.now()
    await this.flows(healsWithinMs)
    t.pass(`traffic flows both ways at all applications after ${Math.round(performance.now() - startMs)} ms`)
  }

  /** The time of day of all applications is another one by so much. */
  async jump (ms: number): Promise<void> {
    await Promise.all(this.#processes.map(async apps => { await apps.ask({ do: 'jump', ms }) }))
  }

  /**
   * Lets the traffic come to its end, compares what applications know with what is stored, and goes on.
   *
   * @param isExact each uplink stands once in the stream: not so in Kafka, where a takeover may repeat some
   */
  async judge (t: Test, { isExact }: { isExact: boolean }): Promise<void> {
    await this.pause()
    const stories = (await Promise.all(this.#processes.map(async apps => await apps.ask({ do: 'stories' })))).flat()
    const sent = stories.reduce((sum, story) => sum + story.sent, 0)
    const lines = await this.#stored(sent, isExact)
    t.equal(lines.length, sent, `each of ${sent} uplinks is in the stream once, and no other`)
    const byUserSeq = new Map(lines.map(line => [`${line.userId} ${line.userSeq}`, line]))
    t.equal(byUserSeq.size, lines.length, 'each under a userSeq of its own')
    const seqs = new Set(lines.map(({ sessionId, seq }) => `${sessionId} ${seq}`))
    t.equal(seqs.size, lines.length, 'and a seq of its own in its session')
    const wrong = stories.flatMap(story => faultsOf(story, this.#pushedTo(story.userId), byUserSeq))
    t.strictSame(wrong.slice(0, 20), [], 'each saw each downlink once and in order, and each of its sends resolved once')
    t.strictSame(this.#complaints, [], 'each downlink was queued for all whom it was for')
    const unnumbered = stories.flatMap(({ resolved }) => resolved).filter(([,, userSeq]) => userSeq === null).length
    const downlinks = stories.reduce((sum, { seen }) => sum + seen, 0)
    t.comment(`${sent} uplinks, ${unnumbered} of them accepted without their userSeq; ${downlinks} downlinks`)
    await this.resume()
  }

  async pause (): Promise<void> {
    this.#isPaused = true
    await this.#busy(false)
    await until(() => this.#requests === 0)
    for (const end = Date.now() + quietWithinMs; ; await sleep(100)) {
      const restless = (await this.states()).filter(({ userId, sent, accepted, seen, isConnected }) =>
        !isConnected || accepted < sent || seen < this.#pushedTo(userId).length)
      if (restless.length === 0) return
      if (Date.now() > end) {
        const some = restless.slice(0, 5).map(state =>
          JSON.stringify({ ...state, pushed: this.#pushedTo(state.userId).length }))
        throw new Error(`${restless.length} still at work after ${quietWithinMs} ms: ${some.join(' ')}`)
      }
    }
  }

  async resume (): Promise<void> {
    this.#isPaused = false
    await this.#busy(true)
  }

  async #busy (busy: boolean): Promise<void> {
    await Promise.all(this.#processes.map(async apps => { await apps.ask({ do: 'work', busy }) }))
  }

  #pushedTo (userId: string): readonly string[] {
    return this.#pushed[groups.findIndex(group => group.includes(userId))]!
  }

  /** What the stream `uplinks` has, once it is as much as was accepted: it is written a little later than acks are. */
  async #stored (count: number, isExact: boolean): Promise<UplinkLine[]> {
    let lines: UplinkLine[] = []
    for (const end = Date.now() + quietWithinMs; lines.length < count && Date.now() < end; await sleep(200)) {
      lines = await readUplinks(this.#push()[0]!)
      if (isExact) continue
      // As docs/protocol.md tells consumers: a takeover may publish again, under the same userSeq.
      lines = [...new Map(lines.map(line => {
        const { userId, userSeq, sessionId, seq, payload } = line
        return [`${userId} ${userSeq} ${sessionId} ${seq} ${payload}`, line] as const
      })).values()]
    }
    return lines
  }

  /** One after the other, so that there is an order in which they must come. */
  async #keepPushing (group: number): Promise<void> {
    await sleep(pushEveryMs * group / groups.length)
    for (let i = 1; !this.#isStopped; await sleep(pushEveryMs)) {
      if (this.#isPaused) continue
      this.#requests++
      const messageId = `g${group}.${i++}`
      if (await this.#request(messageId, groups[group]!)) this.#pushed[group]!.push(messageId)
      this.#requests--
    }
  }

  async #request (messageId: string, to: readonly string[]): Promise<boolean> {
    for (let attempt = 0; !this.#isStopped; attempt++, await sleep(100)) {
      const nodes = this.#push()
      const node = nodes[attempt % Math.max(1, nodes.length)]
      if (!node) continue
      try {
        const { status, body } = await request(node, '/v1/downlinks', { to: { userIds: to }, messageId, payload: messageId })
        if (status !== 202) continue
        // A try whose answer was lost may have been taken.
        const taken = attempt === 0 ? ['queued'] : ['queued', 'duplicate']
        const others = body.users.filter(({ status }: { status: string }) => !taken.includes(status))
        for (const other of others) this.#complaints.push(`${messageId}: ${JSON.stringify(other)}`)
        return true
      } catch {} // no answer: with the same id it is asked again
    }
    return false
  }

  async #stop (): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#processes.map(async apps => { await apps.stop() }))
  }
}

/** What is wrong with what an application saw, in words. */
function faultsOf (
  story: AppStory, pushed: readonly string[], stored: ReadonlyMap<string, UplinkLine>
): string[] {
  const { userId, deviceId, sent, resolved, downlinks, complaints, ends } = story
  const faults: string[] = [...complaints]
  if (String(downlinks) !== String(pushed)) {
    const i = pushed.findIndex((messageId, i) => downlinks[i] !== messageId)
    faults.push(`downlinks from ${i} on: ${downlinks.slice(i, i + 5).join()} of ${pushed.slice(i, i + 5).join()}`)
  }
  const isEachOnce = resolved.length === sent && resolved.every(([number, seq], i) => number === i + 1 && seq === i + 1)
  if (!isEachOnce) faults.push(`sends resolved: ${JSON.stringify(resolved.slice(0, 20))} of ${sent}`)
  for (const [number, seq, userSeq] of resolved) {
    if (userSeq === null) continue
    const line = stored.get(`${userId} ${userSeq}`)
    const isSame = line?.seq === seq && line.payload === `${userId} ${number}`
    if (!isSame) faults.push(`${number} has userSeq ${userSeq}, and that is ${JSON.stringify(line)}`)
  }
  return faults.map(fault => `${userId}/${deviceId}: ${fault} ${JSON.stringify(ends)}`)
}

/** A process of `sdk-apps.ts`. */
class Apps {
  readonly #child: ChildProcess = fork(program, { execArgv: ['--enable-source-maps'] })
  readonly #exit = once(this.#child, 'exit')
  readonly #asked = new Map<number, (answer: any) => void>()
  #asks = 0

  constructor () {
    const kill = () => { this.#child.kill('SIGKILL') }
    process.on('exit', kill) // of a test that ran into its time limit
    this.#exit.finally(() => process.off('exit', kill))
    this.#child.on('message', ({ id, answer }: { id: number, answer: unknown }) => {
      this.#asked.get(id)?.(answer)
      this.#asked.delete(id)
    })
  }

  ask (order: { readonly do: 'states' }): Promise<AppState[]>
  ask (order: { readonly do: 'stories' }): Promise<AppStory[]>
  ask (order: Order): Promise<unknown>
  async ask (order: Order): Promise<unknown> {
    const id = ++this.#asks
    const answer = new Promise(resolve => { this.#asked.set(id, resolve) })
    this.#child.send({ id, order })
    return await answer
  }

  async stop (): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exit
  }
}
