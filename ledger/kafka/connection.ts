import type { Socket } from 'node:net'
import { nameOf, type Address } from './address.js'
import { NoAnswer, NotAdmitted, UnsupportedBroker } from './no-answer.js'
import { metadata, offsetForLeaderEpoch } from './leader-apis.js'
import { fetch, produce } from './record-apis.js'
import { RequestTurns } from './request-turns.js'
import { credentialsOf, login, type Ask, type Credentials, type Sasl } from './sasl.js'
import { looksLikeTls, refusalOf, socketTo, type Ssl } from './socket.js'
import * as wire from './wire.js'
import { apiVersions, type Api } from './wire.js'

/** How a client of Kafka comes, with kafkajs's names. */
export interface Admission {
  readonly clientId: string
  /** Plain TCP where it is left out. */
  readonly ssl?: Ssl
  readonly sasl?: Sasl
}

interface Pending {
  readonly timer: NodeJS.Timeout
  /** False while the request is held back. */
  sent: boolean
  resolve (answer: Buffer): void
  reject (err: Error): void
}

const wanted: ReadonlyArray<Api<any, any>> = [
  produce, fetch, metadata, offsetForLeaderEpoch,
  wire.createTopics, wire.listOffsets, wire.deleteRecords, wire.findCoordinator, wire.joinGroup,
  wire.syncGroup, wire.heartbeat, wire.leaveGroup, wire.offsetCommit, wire.offsetFetch, wire.initProducerId,
  wire.addPartitionsToTxn, wire.endTxn,
]
const copiedBytesMax = 1 << 16
const underWayMax = 8
/** Longer than any window that quotas are measured in. */
const throttleMsMax = 60_000
const answerBytesMax = 128 << 20

/** A session is renewed after this share of it, by chance: those that began together are not renewed together. */
const renewShareMin = 0.8
const renewShareMax = 0.9
/** A broker takes a second login after a second (KIP-368). */
const renewMsMin = 1_200
const credentialsRetryMs = 1_000

/**
 * One socket to one broker. A broker answers the requests of a connection in order, so one that waits (a fetch, a join)
 * needs a connection of its own.
 *
 * A request that is not answered by its deadline ends the connection, and with it every other one: what would still
 * come is of unknown age.
 *
 * Where the broker bounds how long a login lasts, the first request after most of that time has it renewed. Requests
 * are held back meanwhile, in their order, for a broker that awaits a login takes nothing else.
 */
export class Connection {
  private readonly pending = new Map<number, Pending>()
  private correlationId = 0
  private chunks: Buffer[] = []
  private buffered = 0
  private missing = 4
  private ended: Error | undefined
  /** Requests that wait for the login, in order; undefined where none is under way. */
  private held: Array<() => void> | undefined
  /** Of `performance.now`. */
  private renewAtMs = Infinity
  private sessionEndsMs = Infinity
  private offered: readonly wire.Offered[] = []
  private readonly turns = new RequestTurns(underWayMax)

  /**
   * @param deadlineMs for connecting, to learn which versions the broker speaks, and for each step of a login
   * @throws NoAnswer when there is no connection by then, NotAdmitted, or UnsupportedBroker
   */
  static async open (address: Address, admission: Admission, deadlineMs: number): Promise<Connection> {
    const { sasl, ssl } = admission
    const credentials = sasl && await credentialsOf(sasl)
    const connection = new Connection(address, admission, deadlineMs, await socketTo(address, ssl, deadlineMs))
    try {
      await connection.checkVersions(deadlineMs)
      if (credentials) await connection.login(credentials)
    } catch (err) {
      connection.destroy(err as Error)
      const why = connection.ended?.cause
      throw why instanceof NotAdmitted ? why : err
    }
    return connection
  }

  private constructor (
    readonly address: Address, private readonly admission: Admission, private readonly deadlineMs: number,
    private readonly socket: Socket
  ) {
    socket.on('data', chunk => this.take(chunk))
    socket.on('error', err => this.destroy(refusalOf(err, address) ?? err))
    socket.on('close', () => this.destroy(new Error('the broker closed the connection')))
  }

  get closed (): boolean { return this.ended !== undefined }

  /**
   * @param deadlineMs from when it is written, which waits for its turn and for as long as the broker has asked for:
   *   ends the connection when no answer has come by then
   * @throws NoAnswer
   */
  async send<Question, Answer> (
    api: Api<Question, Answer>, question: Question, deadlineMs: number
  ): Promise<Answer> {
    const body = await api.encode(question)
    await this.turns.take()
    try {
      const now = performance.now()
      if (now >= this.renewAtMs) this.renew()
      if (now >= this.sessionEndsMs) this.held ??= []
      const answer = await api.decode(await this.request(api, body, deadlineMs, this.held))
      const throttleMs = wire.throttleMsOf(answer)
      if (throttleMs > 0) this.turns.quiet(Math.min(throttleMs, throttleMsMax))
      return answer
    } finally {
      this.turns.done()
    }
  }

  /** @param held what it waits in; undefined: it goes at once */
  private async request (
    { name, key, version }: Api<any, any>, body: Buffer, deadlineMs: number, held?: Array<() => void>
  ): Promise<Buffer> {
    if (this.ended) throw new NoAnswer(`${name}: ${this.ended.message}`, false, { cause: this.ended })
    const id = this.correlationId = (this.correlationId + 1) & 0x7fffffff
    return new Promise<Buffer>((resolve, reject) => {
      // What has come meanwhile is read first: it may be this process that is late.
      const late = () => setImmediate(() => {
        if (this.pending.get(id) === pending) this.destroy(new Error(`no answer within ${deadlineMs} ms`))
      })
      const pending: Pending = {
        timer: setTimeout(late, deadlineMs),
        sent: false,
        resolve,
        reject: cause => reject(new NoAnswer(`${name}: ${cause.message}`, pending.sent, { cause })),
      }
      this.pending.set(id, pending)
      const write = () => {
        pending.sent = true
        this.write(key, version, id, body)
      }
      if (held) held.push(write)
      else write()
    })
  }

  /** The session ends soon, or has ended in silence. While a token can't be had, it goes on to its end. */
  private async renew (): Promise<void> {
    this.renewAtMs = Infinity
    try {
      await this.login(await credentialsOf(this.admission.sasl!))
    } catch (err) {
      const now = performance.now()
      const mayLater = this.held === undefined && now + credentialsRetryMs < this.sessionEndsMs
      if (mayLater) this.renewAtMs = now + credentialsRetryMs
      else this.destroy(err as Error)
    }
  }

  /** @throws NoAnswer, or NotAdmitted; the connection is of no use then */
  private async login (credentials: Credentials): Promise<void> {
    const held = this.held ??= []
    const ask: Ask = async (api, question) =>
      api.decode(await this.request(api, await api.encode(question), this.deadlineMs))
    const startedMs = performance.now()
    const lifetimeMs = await login(ask, credentials, nameOf(this.address))
    const lastsMs = lifetimeMs === 0 ? Infinity : lifetimeMs
    const share = renewShareMin + (renewShareMax - renewShareMin) * Math.random()
    this.renewAtMs = startedMs + Math.max(renewMsMin, lastsMs * share)
    this.sessionEndsMs = startedMs + lastsMs
    this.held = undefined
    for (const write of held) if (!this.ended) write()
  }

  destroy (cause: Error): void {
    if (this.ended) return
    this.ended = new Error(`${nameOf(this.address)}: ${cause.message}`, { cause })
    this.socket.destroy()
    for (const { timer, reject } of this.pending.values()) {
      clearTimeout(timer)
      reject(this.ended)
    }
    this.pending.clear()
    this.chunks = []
    this.turns.end()
  }

  private write (key: number, version: number, id: number, body: Buffer): void {
    const nameBytes = Buffer.byteLength(this.admission.clientId)
    const start = 14 + nameBytes
    // One write of a copy is cheaper than two pieces while the copy is small.
    const whole = body.length <= copiedBytesMax
    const header = Buffer.allocUnsafe(whole ? start + body.length : start)
    header.writeInt32BE(10 + nameBytes + body.length, 0)
    header.writeInt16BE(key, 4)
    header.writeInt16BE(version, 6)
    header.writeInt32BE(id, 8)
    header.writeInt16BE(nameBytes, 12)
    header.write(this.admission.clientId, 14)
    if (whole) header.set(body, start)
    this.socket.write(header)
    if (!whole) this.socket.write(body)
  }

  private take (chunk: Buffer): void {
    this.chunks.push(chunk)
    this.buffered += chunk.length
    while (this.buffered >= this.missing && !this.ended) {
      const bytes = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks, this.buffered)
      this.chunks = [bytes]
      if (looksLikeTls(bytes)) return this.destroy(speaksTls(nameOf(this.address)))
      const size = bytes.readInt32BE(0)
      if (size < 4 || size > answerBytesMax) return this.destroy(new Error(`an answer of ${size} bytes`))
      this.missing = 4 + size
      if (bytes.length < this.missing) return
      this.answer(bytes.readInt32BE(4), bytes.subarray(8, this.missing))
      this.chunks = [bytes.subarray(this.missing)]
      this.buffered = bytes.length - this.missing
      this.missing = 4
    }
  }

  private answer (id: number, bytes: Buffer): void {
    const pending = this.pending.get(id)
    if (!pending) return
    this.pending.delete(id)
    clearTimeout(pending.timer)
    pending.resolve(bytes)
  }

  /** Whether the broker has a request that can be done without. */
  speaks ({ key, version }: Api<any, any>): boolean {
    const offered = this.offered.find(({ apiKey }) => apiKey === key)
    return offered !== undefined && offered.minVersion <= version && version <= offered.maxVersion
  }

  private async checkVersions (deadlineMs: number): Promise<void> {
    const answer = await this.send(apiVersions, {}, deadlineMs)
    wire.check(answer, 'ApiVersions')
    this.offered = answer.apiVersions
    for (const api of wanted) {
      if (this.speaks(api)) continue
      const { name, key, version } = api
      const offered = this.offered.find(({ apiKey }) => apiKey === key)
      const got = offered ? `${offered.minVersion} to ${offered.maxVersion}` : 'none'
      throw new UnsupportedBroker(`Kafka broker ${nameOf(this.address)}: got versions ${got} of ${name}, ` +
        `want ${version}; Kafka 2.4 or later speaks it`)
    }
  }
}

function speaksTls (broker: string): NotAdmitted {
  return new NotAdmitted(`Kafka broker ${broker} speaks TLS: set KAFKA_SSL=true`)
}
