import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { type Client, createClient } from '../../client/node.js'
import { tokenFor, until } from './node-process.js'

/** No judge of speed, but of whether it comes to it at all. */
const settlesWithinMs = 120_000

/** A post, or how many were announced as missed. */
type Heard = { readonly roomSeq: number, readonly messageId: string } | { readonly missed: number }

/** Somebody in several rooms who posts in one after the other, and writes down what each gives him. */
class Member {
  readonly #client: Client
  /** By room, in the order in which they came. */
  readonly heard = new Map<string, Heard[]>()
  /** Posts that the gateway has accepted. */
  accepted = 0
  #posting = true
  #loop: Promise<void> | undefined

  constructor (t: Test, readonly userId: string, token: string, ipConfig: string, rooms: readonly string[]) {
    this.#client = createClient({ ipConfig, transport: 'tcp', deviceId: 'phone', getToken: () => token })
    t.teardown(() => {
      this.#posting = false
      return this.#client.close()
    })
    for (const roomId of rooms) {
      const heard: Heard[] = []
      this.heard.set(roomId, heard)
      this.#client.room(roomId)
        .on('post', ({ roomSeq, messageId }) => { heard.push({ roomSeq, messageId }) })
      this.#client.room(roomId).on('missed', ({ count }) => { heard.push({ missed: count }) })
    }
    this.#client.connect()
  }

  get isIn (): boolean { return [...this.heard.keys()].every(roomId => this.#client.room(roomId).isJoined) }

  start (): void {
    this.#posting = true
    this.#loop = this.#post()
  }

  async pause (): Promise<void> {
    this.#posting = false
    await this.#loop
  }

  /** One after the other, so that what is accepted is known. */
  async #post (): Promise<void> {
    const rooms = [...this.heard.keys()]
    for (let n = 0; this.#posting; n++) {
      await this.#client.room(rooms[n % rooms.length]!).post(`${this.userId} ${n}`)
      this.accepted++
      await sleep(20)
    }
  }
}

/** Members of the rooms of a cluster that post without rest. */
export class RoomTraffic {
  readonly members: Member[] = []
  readonly #rooms: readonly string[]

  static async start (
    t: Test, ipConfig: string, users: readonly string[], rooms: readonly string[]
  ): Promise<RoomTraffic> {
    const traffic = new RoomTraffic(rooms)
    for (const userId of users) {
      traffic.members.push(new Member(t, userId, await tokenFor(userId, { rooms: { '*': 'rw' } }), ipConfig, rooms))
    }
    await until(() => traffic.members.every(({ isIn }) => isIn))
    traffic.resume()
    return traffic
  }

  private constructor (rooms: readonly string[]) { this.#rooms = rooms }

  resume (): void { for (const member of this.members) member.start() }

  /** Waits until each member has had so many more posts accepted. */
  async flows (posts = 20): Promise<void> {
    const before = this.members.map(({ accepted }) => accepted)
    await until(() => this.members.every(({ accepted }, i) => accepted >= before[i]! + posts), 50)
  }

  /**
   * Lets it come to its end, and judges: all that was accepted has come to every member, in the order of its room and
   * each post once, or was announced as missed.
   *
   * @param numbered how many posts a room has numbered
   */
  async judge (t: Test, numbered: (roomId: string) => Promise<number>): Promise<void> {
    await Promise.all(this.members.map(member => member.pause()))
    const accepted = this.members.reduce((sum, member) => sum + member.accepted, 0)
    let totals: number[] = []
    const deadline = Date.now() + settlesWithinMs
    for (;;) {
      totals = await Promise.all(this.#rooms.map(numbered))
      const isThere = totals.reduce((sum, total) => sum + total, 0) >= accepted &&
        this.members.every(({ heard }) => this.#rooms.every((roomId, i) => covered(heard.get(roomId)!) >= totals[i]!))
      if (isThere || Date.now() > deadline) break
      await sleep(200)
    }
    const total = totals.reduce((sum, total) => sum + total, 0)
    t.equal(total, accepted, `all ${accepted} posts that were accepted are numbered, each once`)
    for (const [i, roomId] of this.#rooms.entries()) {
      const orders = new Map<number, string>()
      for (const { userId, heard } of this.members) {
        const items = heard.get(roomId)!
        t.equal(covered(items), totals[i], `${userId} has had all of ${roomId}, or was told how many are gone`)
        t.strictSame(outOfOrder(items), [], `${userId} has had ${roomId} in order, and each post once`)
        for (const item of items) {
          if ('missed' in item) continue
          const known = orders.get(item.roomSeq)
          if (known !== undefined && known !== item.messageId) t.fail(`post ${item.roomSeq} of ${roomId} is two`)
          orders.set(item.roomSeq, item.messageId)
        }
      }
    }
    const missed = this.members.flatMap(({ heard }) => [...heard.values()].flat())
      .reduce((sum, item) => sum + ('missed' in item ? item.missed : 0), 0)
    t.comment(`${accepted} posts, ${missed} announced as missed`)
    this.resume()
  }
}

/** Posts that came, and those that were announced as missed. */
function covered (items: readonly Heard[]): number {
  return items.reduce((sum, item) => sum + ('missed' in item ? item.missed : 1), 0)
}

/** Numbers that do not follow the one before, with what was missed between. */
function outOfOrder (items: readonly Heard[]): number[] {
  const wrong: number[] = []
  let last = 0
  for (const item of items) {
    if ('missed' in item) {
      last += item.missed
      continue
    }
    if (item.roomSeq !== last + 1) wrong.push(item.roomSeq)
    last = item.roomSeq
  }
  return wrong
}
