import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Client, createClient } from '../../client/node.js'
import { missing, TestCluster } from './cluster.js'
import { randomFrom, request, tokenFor, until } from './node-process.js'
import { type Proxy, startProxy } from './proxy.js'

const rooms = Array.from({ length: 10 }, (_, i) => `jitter:${i}`)
const membersEach = 30
/** As AnyCable's bench has it: a socket lives for 15 s on average, and its client is away for 2 s then. */
const [socketMs, awayMs] = [15_000, 2_000]
const cutEveryMs = 100
/** Posts between one fault and the next. */
const someWhile = 100

t.test('Rooms of a cluster with 300 members whose sockets are cut all the time', {
  skip: missing, timeout: 850_000,
}, async t => {
  const cluster = await TestCluster.start(t)
  await cluster.traffic.pause()
  const edges = ['e1', 'e2'] as const
  const proxies = await Promise.all(edges.map(name => startProxy(t, () => portOf(cluster.nodes.get(name)?.tcp))))
  const endpoints = proxies.map(({ port }) => `tcp://127.0.0.1:${port}`)
  const members = await Promise.all(rooms.flatMap(roomId =>
    Array.from({ length: membersEach }, (_, i) => Member.of(t, `${roomId.replace(':', '-')}-${i}`, roomId, endpoints))))
  await until(() => members.every(({ isIn }) => isIn), 50)

  const jitter = startJitter(t, proxies)
  const posts = new Posts(t, () => (cluster.nodes.get('u1') ?? cluster.nodes.get('u2'))!)
  const allHaveAll = async (t: Test) => {
    await posts.pause()
    await until(() => members.every(({ roomId, got }) => got.length >= posts.of(roomId).length), 50)
    const wrong = members.filter(({ roomId, got }) => got.join() !== posts.of(roomId).join())
    t.strictSame(wrong.map(({ userId }) => userId), [], 'each member has each post of its room, once and in order')
    t.strictSame(members.filter(({ missed }) => missed > 0).map(({ userId }) => userId), [], 'and none has missed any')
    posts.goOn()
  }

  posts.goOn()
  for (const name of ['e1', 'u1', 'e2', 'u2'] as const) {
    await t.test(`lose nothing where ${name} is killed and comes back`, async t => {
      await posts.flow(someWhile)
      await cluster.kill(name)
      await posts.flow(someWhile)
      await cluster.startNodes(name)
      await posts.flow(someWhile)
      await allHaveAll(t)
    })
  }
  await posts.pause()
  jitter.stop()
  t.ok(jitter.cuts > 2 * members.length, `${jitter.cuts} sockets were cut`)
  await cluster.audit(t)
})

/** One device that is in one room, and writes down what comes. */
class Member {
  readonly got: string[] = []
  missed = 0

  static async of (t: Test, userId: string, roomId: string, endpoints: readonly string[]): Promise<Member> {
    const token = await tokenFor(userId, { rooms: { '*': 'r' } })
    let isNew = true
    return new Member(t, userId, roomId, createClient({
      endpoints,
      deviceId: 'phone',
      // It is asked for by each connection: this is how long the client stays away.
      getToken: async () => {
        if (!isNew) await sleep(awayMs)
        isNew = false
        return token
      },
    }))
  }

  private constructor (t: Test, readonly userId: string, readonly roomId: string, readonly client: Client) {
    t.teardown(() => client.close())
    client.room(roomId).on('post', ({ messageId }) => { this.got.push(messageId) })
    client.room(roomId).on('missed', ({ count }) => { this.missed += count })
    client.connect()
  }

  get isIn (): boolean { return this.client.room(this.roomId).isJoined }
}

/** A business service that posts in one room after the other, and keeps what was accepted in the order of the rooms. */
class Posts {
  readonly #accepted = new Map<string, string[]>(rooms.map(roomId => [roomId, []]))
  #count = 0
  #goesOn = false
  #loop: Promise<void> | undefined

  constructor (t: Test, readonly node: () => { http: string }) {
    t.teardown(() => this.pause())
  }

  of (roomId: string): readonly string[] { return this.#accepted.get(roomId)! }

  goOn (): void {
    this.#goesOn = true
    this.#loop = this.#run()
  }

  async pause (): Promise<void> {
    this.#goesOn = false
    await this.#loop
  }

  async flow (posts: number): Promise<void> {
    const wanted = this.#count + posts
    await until(() => this.#count >= wanted, 20)
  }

  async #run (): Promise<void> {
    while (this.#goesOn) {
      const roomId = rooms[this.#count % rooms.length]!
      const messageId = `m${this.#count}`
      // A post of which nobody knows what became of it is posted again: it has its id.
      await until(() => this.#post(roomId, messageId), 100)
      this.#accepted.get(roomId)!.push(messageId)
      this.#count++
      await sleep(20)
    }
  }

  async #post (roomId: string, messageId: string): Promise<boolean> {
    const path = `/v1/rooms/${encodeURIComponent(roomId)}/posts`
    const asked = request(this.node(), path, { messageId, payload: messageId })
    const { status } = await asked.catch(() => ({ status: 0 }))
    return status >= 200 && status < 300
  }
}

/** Cuts sockets, so that each lives for `socketMs` on average. */
function startJitter (t: Test, proxies: readonly Proxy[]): { readonly cuts: number, stop (): void } {
  const random = randomFrom(1)
  let cuts = 0
  const timer = setInterval(() => {
    for (const proxy of proxies) {
      const share = proxy.size * cutEveryMs / socketMs
      const few = Math.floor(share) + (random() < share % 1 ? 1 : 0)
      proxy.cut(few, random)
      cuts += few
    }
  }, cutEveryMs)
  const stop = () => { clearInterval(timer) }
  t.teardown(stop)
  return { get cuts () { return cuts }, stop }
}

function portOf (url: string | undefined): number | undefined {
  return url === undefined ? undefined : Number(new URL(url).port)
}
