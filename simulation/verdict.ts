import type { Books } from '../evidence/audit.js'
import type { RebuildableTables } from '../projections/tables/tables.js'
import { type Answer, Api, jsonOf } from './api.js'
import { apiKey, type Inhabitants } from './inhabitants.js'
import { Hearing } from './hearing.js'
import { judge } from './judge.js'
import { ports } from './node.js'
import { Random } from './random.js'
import { tableFaults } from './rebuilt.js'
import { repeatFault } from './repeats.js'
import { readRooms, roomFaults, type RoomStreams } from './rooms/judge.js'
import { mayBeForbidden, rooms } from './rooms/member.js'
import { readEndedSessions, signOutFaults } from './sign-outs.js'
import { Channel, noStoreTrouble, type SharedStore } from './stores/channel.js'
import { SimulatedTables, TableStore } from './stores/tables.js'
import type { Host } from './world.js'

/** Within which all must be well once nothing bad happens any more. */
const healsWithinMs = 240_000
const auditWithinMs = 60_000

/** What must hold in the end, when nothing bad happens any more (docs/simulation.md). */
export class Verdict {
  /**
   * @param violations where all is written that does not hold
   * @param knowsRepeats by a clock that was a day ahead what was requested before is forgotten, and its repeat is a new
   *   request
   */
  constructor (
    readonly all: Inhabitants, readonly seed: number, readonly knowsRepeats: boolean, readonly violations: string[]
  ) {}

  /** Lets time go on until it is known. */
  async pass (): Promise<Books | undefined> {
    const { all: { world, observer, nodes, receiver }, knowsRepeats, violations } = this
    for (const node of nodes) if (receiver?.hasToldGone(node.options.address)) node.stop()
    const healed = await observer.until(healsWithinMs, () => this.#restless() === undefined)
    if (!healed) violations.push(`${healsWithinMs / 1000} s after the last fault: ${this.#restless()}`)
    await world.run(5_000) // what is coalesced or rides on the next commit
    const books = await this.#audit()
    const repeats = books && knowsRepeats && await observer.work(log => repeatFault(log, books))
    if (repeats) violations.push(repeats)
    await this.#judge()
    await this.#areWell()
    return books
  }

  /** Who is not where all should be in the end; undefined for nobody. */
  #restless (): string | undefined {
    const { nodes, devices, service, operator, roomHost, receiver, observer } = this.all
    const down = nodes.find(node => !node.isUp)
    if (down) return `${down.options.id} is not up`
    const away = devices.find(({ isConnected }) => !isConnected)
    if (away) return `${away.name} is not connected`
    const waiting = devices.find(({ unacked }) => unacked > 0)
    if (waiting) return `${waiting.name} has ${waiting.unacked} uplinks without an ack`
    if (service.pending > 0) return 'a push has no answer'
    if (roomHost.pending > 0) return 'a service of rooms has no answer'
    const [unanswered] = operator.pending
    if (unanswered !== undefined) return `an operator who ${unanswered} has no answer`
    if (observer.isAuditing) return 'an audit goes on'
    for (const device of devices) {
      const { userId } = device.options
      const queued = [...service.queued.get(userId)!, ...receiver?.replies.get(userId) ?? []]
      const seen = new Set(device.runs.flatMap(({ seen, skipped }) => [...seen, ...skipped]))
      const missed = device.runs.reduce((sum, { missed }) => sum + missed, 0)
      const lacking = queued.filter(messageId =>
        !seen.has(messageId) && !service.recalled.has(messageId) && !device.excused.has(messageId))
      if (lacking.length > missed) {
        return `${device.name} has not got ${lacking.slice(0, 3).join(', ')}, ${lacking.length} in all, and missed ${missed}`
      }
    }
    return undefined
  }

  async #audit (): Promise<Books | undefined> {
    const { observer } = this.all
    let audited: Awaited<ReturnType<typeof observer.audit>>
    const isDone = await observer.until(auditWithinMs, async () => {
      audited = await observer.audit()
      return audited !== undefined && this.#openItems(audited.books) === undefined
    })
    if (!isDone) this.violations.push(`the books: ${audited ? this.#openItems(audited.books) : 'could not be read'}`)
    this.violations.push(...audited?.violations ?? [])
    return audited?.books
  }

  /** What is not settled in the books, though every device is connected and has all; undefined for nothing. */
  #openItems ({ uplinks, downlinks, connections }: Books): string | undefined {
    const { devices } = this.all
    if (uplinks.due > 0) return `${uplinks.due} uplinks are not in their stream`
    if (connections.due > 0) return `${connections.due} connections are not in their stream`
    if (downlinks.waiting > 0) return `${downlinks.waiting} downlinks wait, and every device has had its own`
    const open = connections.open + connections.closing
    if (open !== devices.length) return `${open} connections are open, of ${devices.length} devices`
    return undefined
  }

  /** What applications, services and tables have, against what was promised. */
  async #judge (): Promise<void> {
    const { devices, service, operator, receiver, tokenService, strangers, roomHost, observer, stores } = this.all
    const published = await observer.published()
    const redelivered = await observer.redelivered()
    await new Hearing(this.all, this.violations).pass()
    const replies = receiver?.replies ?? new Map()
    this.violations.push(...judge(devices, service, operator, published, redelivered, replies))
    this.violations.push(...tokenService?.complaints ?? [], ...strangers.complaints)
    const ended = await observer.work(readEndedSessions)
    if (ended && this.knowsRepeats) this.violations.push(...signOutFaults(ended, devices, redelivered))
    const streams = await observer.work(readRooms)
    if (streams) {
      const areIn = await observer.until(healsWithinMs, () => this.#behind(streams) === undefined)
      if (!areIn) this.violations.push(this.#behind(streams)!)
      this.violations.push(...roomFaults(streams, devices, roomHost, published, this.knowsRepeats))
      await this.#askRooms(streams)
    }
    await this.#compareTables()
    this.violations.push(...stores.complaints)
  }

  /** A connection may change between two looks: what differs does not, a moment later. */
  async #compareTables (): Promise<void> {
    const { observer } = this.all
    let faults: readonly string[] = []
    await observer.until(healsWithinMs, async () => {
      faults = await observer.work(async (log, tables, host) =>
        await tableFaults(log, tables, this.#emptyTables(host), host)) ?? []
      return faults.length === 0
    })
    this.violations.push(...faults)
  }

  /** Who is not in a room, or not at its end; undefined for nobody. */
  #behind ({ published }: RoomStreams): string | undefined {
    const { devices, roomHost } = this.all
    for (const device of devices) {
      for (const roomId of device.member.wanted) {
        const isMember = !mayBeForbidden(roomId) || roomHost.members.get(roomId)!.has(device.options.userId)
        if (device.member.isIn(roomId) !== isMember) return `${device.name} is ${isMember ? 'not ' : ''}in ${roomId}`
        const [place, last] = [device.placeIn(roomId), published.get(roomId)?.size ?? 0]
        if (isMember && place !== last) return `${device.name} is at post ${place} of ${roomId}, of ${last}`
      }
    }
    return undefined
  }

  /** What rooms say of themselves, once they had time to. */
  async #askRooms ({ published }: RoomStreams): Promise<void> {
    const { devices, roomHost, observer } = this.all
    for (const roomId of rooms) {
      const roomSeq = published.get(roomId)?.size ?? 0
      let [said, members] = ['no answer', 0]
      const isRight = await observer.until(healsWithinMs, async () => {
        members = devices.filter(({ member }) => member.isIn(roomId)).length
        const info = await observer.work(async () => await roomHost.info(roomId))
        said = info ? `${info.members} members and ${info.roomSeq} posts` : 'no answer'
        return info?.roomSeq === roomSeq && info.members === members
      })
      if (!isRight) this.violations.push(`${roomId} says ${said}, and has ${members} members and ${roomSeq} posts`)
    }
  }

  #emptyTables (host: Host): RebuildableTables {
    const { all: { world }, seed } = this
    const store: SharedStore = {
      turns: world.outside,
      random: new Random(seed, 'rebuild'),
      nowMs: () => world.nowMs,
      trouble: noStoreTrouble,
      cutOff: new Set(),
    }
    return new SimulatedTables(new TableStore(store), new Channel(store, host, 'rebuild'))
  }

  /** Every node is ready, and nothing that was wrong with it lasts. */
  async #areWell (): Promise<void> {
    const { nodes, observer, stores } = this.all
    // What a webhook did not get before it was deleted is told for a day.
    const lasts = (condition: string): boolean => condition === 'webhooks' && !stores.isWhole
    for (const { options: { id, address } } of nodes) {
      let troubles = 'no answer'
      const isWell = await observer.until(healsWithinMs, async () => {
        const answer = await observer.work(async (_log, _tables, host) =>
          await new Api(host, apiKey).ask({ address, port: ports.http }, 'GET', '/readyz'))
        troubles = answer && [200, 503].includes(answer.status) ? troublesOf(answer, lasts) : 'no answer'
        return troubles === ''
      })
      if (!isWell) this.violations.push(`${id} is not well: ${troubles}`)
    }
  }
}

/** What an answer of `/readyz` says to be wrong, but for conditions that may last. */
function troublesOf (answer: Answer, lasts: (condition: string) => boolean): string {
  const { checks } = jsonOf(answer) as { checks: Record<string, { ok: boolean, reason: string }> }
  const troubles = Object.entries(checks).filter(([name, { ok }]) => !ok && !lasts(name))
  return troubles.map(([name, { reason }]) => `${name}: ${reason}`).join('; ')
}
