import { setTimeout as sleep } from 'node:timers/promises'
import type { Health } from '../../schemas/conditions.js'
import { assignmentOf, claimOf, share } from './claims.js'
import type { Cluster } from './cluster.js'
import { formatBeside, parseBeside, type Place } from './places.js'
import { judgeError, tell } from './verdicts.js'
import {
  check, heartbeat, joinGroup, KafkaError, leaveGroup, offsetCommit, offsetFetch, syncGroup, type Api,
  type FetchedOffset,
} from './wire.js'

export interface MembershipDeps {
  readonly cluster: Cluster
  readonly groupId: string
  readonly topic: string
  readonly sessionTimeoutMs: number
  /** By which the group knows the member again after a restart; without one it is a new member at each start. */
  readonly instanceId?: string | undefined
  /** What permanent errors are asked again after, ms. */
  readonly slowMs: number
  /** What the member has, or is giving back, now. */
  owned (): number[]
  /** @param complete no partition of the group is on its way from one member to another */
  assigned (partitions: readonly number[], complete: boolean): void
  /** The group goes on without this member. Resolves when it has given everything back; it joins again then. */
  lost (): Promise<void>
  readonly health: Health
  failed (what: string, error: Error, fields: object): void
}

/** What a group keeps of a partition. */
export interface Kept {
  /** What the follower has committed; 0n for nothing. */
  readonly committed: bigint
  /** How many items of the block there are done as well. */
  readonly index: number
  /** How far it has come, committed or not: tells a log that was cut back, see places.ts. */
  readonly place: Place | undefined
}

const protocol = 'ledgerline-sticky'
const questionMs = 3_000
const nextRoundMs = 100
const retryMsMin = 100
const retryMsMax = 2_000

const illegalGeneration = 22
const unknownMember = 25
const rebalanceInProgress = 27
const memberIdRequired = 79
const fencedInstance = 82

/**
 * A place in a consumer group, kept by heartbeats: joins, shares out the partitions where it is the group's leader, and
 * joins again when the group changes or when it has given back what it was to give.
 *
 * A member with an instance id does not tell the group that it stops: what it had waits for it, for as long as a
 * session lasts, and the others notice nothing where it is back by then. Where another process has come under the same
 * id, this one gives all back and stays away while that one is a member: joining again would only drive it out.
 */
export class Membership {
  /** When the group has last answered as it should, ms since 1970. */
  confirmedAtMs = Date.now()
  /** Why it is no member, which a person should mend; empty where nothing is refused. */
  refusal = ''
  private memberId = ''
  private generation = -1
  private coordinator: number | undefined
  private stopped = false
  private again = false
  private complete = false
  private wake = new AbortController()
  private running: Promise<void> | undefined
  private readonly lane: string
  /** Partitions that are asked for in this turn, and the answer that comes for them. */
  private readonly wanted = new Set<number>()
  private fetched: Promise<Map<number, FetchedOffset>> = Promise.resolve(new Map())

  constructor (private readonly deps: MembershipDeps) {
    this.lane = `group ${deps.groupId} ${++memberships}`
  }

  start (): void { this.running ??= this.run() }

  /** The member has less than it has told the group. */
  rejoin (): void {
    this.again = true
    this.wake.abort()
  }

  /**
   * What is asked in one turn goes in one request: a member is given all of its partitions at once.
   *
   * @throws NoAnswer or KafkaError
   */
  async kept (partition: number): Promise<Kept> {
    if (this.wanted.size === 0) {
      this.fetched = new Promise(resolve => { setImmediate(resolve) }).then(() => this.fetchKept())
    }
    this.wanted.add(partition)
    const found = (await this.fetched).get(partition)
    if (!found) throw new Error(`OffsetFetch: the group tells nothing of partition ${partition}`)
    check(found, 'OffsetFetch')
    const offset = BigInt(found.offset)
    return { committed: offset < 0n ? 0n : offset, ...parseBeside(found.metadata) }
  }

  private async fetchKept (): Promise<Map<number, FetchedOffset>> {
    const { groupId, topic } = this.deps
    const partitions = [...this.wanted].map(partition => ({ partition }))
    this.wanted.clear()
    const answer = await this.ask(offsetFetch, { groupId, topics: [{ topic, partitions }] })
    check(answer, 'OffsetFetch')
    return new Map(answer.responses.flatMap(({ partitions }) => partitions).map(found => [found.partition, found]))
  }

  /** @throws NoAnswer or KafkaError where it was not kept */
  async keep (kept: ReadonlyMap<number, Kept>): Promise<void> {
    const { groupId, topic } = this.deps
    const partitions = [...kept].map(([partition, { committed, index, place }]) =>
      ({ partition, offset: `${committed}`, metadata: formatBeside(place, index) }))
    const question = {
      groupId, groupGenerationId: this.generation, memberId: this.memberId, topics: [{ topic, partitions }],
    }
    const { responses } = await this.ask(offsetCommit, question)
    for (const answer of responses[0]!.partitions) check(answer, 'OffsetCommit')
  }

  /** Ends the heartbeats and tells a group that is not to wait for this member to come back. */
  async leave (): Promise<void> {
    this.stopped = true
    this.answered()
    this.wake.abort()
    const { groupId, cluster, instanceId } = this.deps
    if (this.memberId && instanceId === undefined) {
      await this.ask(leaveGroup, { groupId, memberId: this.memberId }).catch(() => {}) // the session times out then
    }
    cluster.endLane(this.lane)
    await this.running
  }

  private async run (): Promise<void> {
    let retryMs = retryMsMin
    while (!this.stopped) {
      try {
        await this.join()
        this.answered()
        retryMs = retryMsMin
        await this.keepAlive()
      } catch (err) {
        if (this.stopped) return
        retryMs = await this.recover(err as Error, retryMs)
      }
    }
  }

  /** @returns how long to wait after the next error that passes by itself */
  private async recover (err: Error, retryMs: number): Promise<number> {
    const code = err instanceof KafkaError ? err.code : undefined
    if (code === rebalanceInProgress) return retryMs
    if (code === unknownMember || code === illegalGeneration || code === fencedInstance) {
      const { memberId } = this
      this.memberId = ''
      this.generation = -1
      if (code === fencedInstance) this.trouble(err)
      else this.deps.failed('group has lost this member', err, { group: this.deps.groupId })
      await this.deps.lost()
      if (code === fencedInstance) await this.replaced(memberId)
      return retryMs
    }
    this.trouble(err)
    this.coordinator = undefined
    await this.pause(this.refusal === '' ? retryMs : this.deps.slowMs)
    if (judgeError(err).moved) await this.deps.cluster.look()
    return Math.min(2 * retryMs, retryMsMax)
  }

  /**
   * Resolves once nobody is a member under the instance id. A heartbeat as the member that was replaced tells, and
   * changes nothing: it is fenced while another one has its place, and unknown after that.
   */
  private async replaced (memberId: string): Promise<void> {
    const { groupId, instanceId: groupInstanceId, slowMs, cluster } = this.deps
    const question = { groupId, groupGenerationId: -1, memberId, groupInstanceId }
    while (!this.stopped) {
      await this.pause(slowMs)
      if (this.stopped) return
      try {
        const { errorCode } = await this.askHere(heartbeat, question, questionMs)
        if (errorCode === unknownMember) return
        if (errorCode !== fencedInstance) this.coordinator = undefined
      } catch (err) {
        this.coordinator = undefined
        if (judgeError(err).moved) await cluster.look()
      }
    }
  }

  private trouble (err: Error): void {
    if (this.stopped) return
    const { health, groupId } = this.deps
    const judgement = judgeError(err)
    const told = tell(err.message, judgement)
    this.refusal = judgement.verdict === 'permanent' ? `group ${groupId}: ${told}` : ''
    if (this.refusal === '') health.begin('followers', `the group does not answer: ${told}`, groupId)
    else health.begin('refused', this.refusal, groupId)
    health.end(this.refusal === '' ? 'refused' : 'followers', groupId)
  }

  private answered (): void {
    const { health, groupId } = this.deps
    this.refusal = ''
    health.end('followers', groupId)
    health.end('refused', groupId)
  }

  /** Or until `rejoin` or `leave`. */
  private async pause (ms: number): Promise<void> {
    if (this.stopped) return
    this.wake = new AbortController()
    await sleep(ms, undefined, { signal: this.wake.signal }).catch(() => {})
  }

  private async join (): Promise<void> {
    const { groupId, topic, sessionTimeoutMs, cluster, owned } = this.deps
    const { instanceId: groupInstanceId } = this.deps
    this.again = false
    const question = {
      groupId,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: sessionTimeoutMs,
      protocolType: 'consumer' as const,
      groupInstanceId,
      groupProtocols: [{ name: protocol, metadata: claimOf(topic, owned(), this.generation) }],
    }
    const joinMs = 2 * sessionTimeoutMs + questionMs // the broker waits for members that do not come back
    let joined = await this.askHere(joinGroup, { ...question, memberId: this.memberId }, joinMs)
    if (joined.errorCode === memberIdRequired) {
      this.memberId = joined.memberId
      joined = await this.askHere(joinGroup, { ...question, memberId: this.memberId }, joinMs)
    }
    check(joined, 'JoinGroup')
    const { memberId, generationId, leaderId, members } = joined
    this.memberId = memberId
    const groupAssignment = leaderId === memberId ? share(members, topic, cluster.partitions(topic)) : []
    const mine = { groupId, generationId, memberId, groupInstanceId }
    const synced = await this.askHere(syncGroup, { ...mine, groupAssignment }, joinMs)
    check(synced, 'SyncGroup')
    this.generation = generationId
    this.confirmedAtMs = Date.now()
    if (this.stopped) return
    const { partitions, complete } = assignmentOf(synced.memberAssignment, topic)
    this.complete = complete
    this.deps.assigned(partitions, complete)
  }

  /** Returns when it is time to join again. */
  private async keepAlive (): Promise<void> {
    const { groupId, sessionTimeoutMs, instanceId: groupInstanceId } = this.deps
    // The answer to a heartbeat tells of the next round, for which somebody waits without a partition.
    const everyMs = this.complete ? sessionTimeoutMs / 5 : nextRoundMs
    for (let waitMs = everyMs; !this.stopped && !this.again;) {
      await this.pause(waitMs)
      if (this.stopped || this.again) return
      try {
        const question = {
          groupId, groupGenerationId: this.generation, memberId: this.memberId, groupInstanceId,
        }
        check(await this.askHere(heartbeat, question, questionMs), 'Heartbeat')
        this.answered()
        this.confirmedAtMs = Date.now()
        waitMs = everyMs
      } catch (err) {
        if (err instanceof KafkaError && isFinal(err.code)) throw err
        this.trouble(err as Error)
        this.coordinator = undefined
        if (this.refusal !== '') {
          // Access may be back before the session ends; after that there is no place to keep.
          if (Date.now() - this.confirmedAtMs > sessionTimeoutMs) throw err
          waitMs = everyMs
          continue
        }
        // The coordinator is away or has moved. It keeps the group in Kafka, so the member need not join again.
        waitMs = everyMs / 4
        if (judgeError(err).moved) await this.deps.cluster.look()
      }
    }
  }

  /** On the connection of this membership, where a join may take long. */
  private async askHere<Q, A> (api: Api<Q, A>, question: Q, deadlineMs: number): Promise<A> {
    const { cluster, groupId } = this.deps
    this.coordinator ??= await cluster.coordinatorOf(groupId)
    const connection = await cluster.connection(this.coordinator, this.lane)
    return connection.send(api, question, deadlineMs)
  }

  private async ask<Q, A> (api: Api<Q, A>, question: Q): Promise<A> {
    const { cluster, groupId } = this.deps
    this.coordinator ??= await cluster.coordinatorOf(groupId)
    const connection = await cluster.connection(this.coordinator, 'questions')
    return connection.send(api, question, questionMs)
  }
}

let memberships = 0

function isFinal (code: number): boolean {
  return code === unknownMember || code === illegalGeneration || code === rebalanceInProgress || code === fencedInstance
}
