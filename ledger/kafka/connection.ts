import { connect, type Socket } from 'node:net'
import { fetch, produce } from './record-apis.js'
import * as wire from './wire.js'
import { apiVersions, type Api } from './wire.js'

export interface Address { readonly host: string, readonly port: number }

/** The broker did not answer; where `sent`, nobody knows what it has done. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
  constructor (message: string, readonly sent: boolean, options?: ErrorOptions) { super(message, options) }
}

/** The broker speaks other versions than we do; trying again is of no use. */
export class UnsupportedBroker extends Error { override readonly name = 'UnsupportedBroker' }

interface Pending {
  readonly timer: NodeJS.Timeout
  resolve (answer: Buffer): void
  reject (err: Error): void
}

const wanted: ReadonlyArray<Api<any, any>> = [
  produce, fetch, wire.metadata, wire.createTopics, wire.listOffsets, wire.findCoordinator, wire.joinGroup,
  wire.syncGroup, wire.heartbeat, wire.leaveGroup, wire.offsetCommit, wire.offsetFetch, wire.initProducerId,
]
const copiedBytesMax = 1 << 16
const answerBytesMax = 128 << 20
const keepAliveMs = 30_000

/**
 * One socket to one broker. A broker answers the requests of a connection in order, so one that waits (a fetch, a join)
 * needs a connection of its own.
 *
 * A request that is not answered by its deadline ends the connection, and with it every other one: what would still
 * come is of unknown age.
 */
export class Connection {
  private readonly pending = new Map<number, Pending>()
  private correlationId = 0
  private chunks: Buffer[] = []
  private buffered = 0
  private missing = 4
  private ended: Error | undefined

  /**
   * @param deadlineMs for connecting and for the question which versions the broker speaks, each
   * @throws NoAnswer when there is no connection by then, or UnsupportedBroker
   */
  static async open (address: Address, clientId: string, deadlineMs: number): Promise<Connection> {
    const connection = new Connection(address, clientId, await socketTo(address, deadlineMs))
    try {
      await connection.checkVersions(deadlineMs)
    } catch (err) {
      connection.destroy(err as Error)
      throw err
    }
    return connection
  }

  private constructor (readonly address: Address, private readonly clientId: string, private readonly socket: Socket) {
    socket.on('data', chunk => this.take(chunk))
    socket.on('error', err => this.destroy(err))
    socket.on('close', () => this.destroy(new Error('the broker closed the connection')))
  }

  get closed (): boolean { return this.ended !== undefined }

  /**
   * @param deadlineMs ends the connection when no answer has come by then
   * @throws NoAnswer
   */
  async send<Question, Answer> (
    { name, key, version, encode, decode }: Api<Question, Answer>, question: Question, deadlineMs: number
  ): Promise<Answer> {
    const body = await encode(question)
    if (this.ended) throw new NoAnswer(`${name}: ${this.ended.message}`, false, { cause: this.ended })
    const id = this.correlationId = (this.correlationId + 1) & 0x7fffffff
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const late = () => this.destroy(new Error(`no answer within ${deadlineMs} ms`))
      const refuse = (cause: Error) => reject(new NoAnswer(`${name}: ${cause.message}`, true, { cause }))
      this.pending.set(id, { timer: setTimeout(late, deadlineMs), resolve, reject: refuse })
      this.write(key, version, id, body)
    })
    return decode(answer)
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
  }

  private write (key: number, version: number, id: number, body: Buffer): void {
    const nameBytes = Buffer.byteLength(this.clientId)
    const start = 14 + nameBytes
    // One write of a copy is cheaper than two pieces while the copy is small.
    const whole = body.length <= copiedBytesMax
    const header = Buffer.allocUnsafe(whole ? start + body.length : start)
    header.writeInt32BE(10 + nameBytes + body.length, 0)
    header.writeInt16BE(key, 4)
    header.writeInt16BE(version, 6)
    header.writeInt32BE(id, 8)
    header.writeInt16BE(nameBytes, 12)
    header.write(this.clientId, 14)
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

  private async checkVersions (deadlineMs: number): Promise<void> {
    const answer = await this.send(apiVersions, {}, deadlineMs)
    wire.check(answer, 'ApiVersions')
    for (const { name, key, version } of wanted) {
      const offered = answer.apiVersions.find(({ apiKey }) => apiKey === key)
      if (offered && offered.minVersion <= version && version <= offered.maxVersion) continue
      const got = offered ? `${offered.minVersion} to ${offered.maxVersion}` : 'none'
      throw new UnsupportedBroker(`Kafka broker ${nameOf(this.address)}: got versions ${got} of ${name}, ` +
        `want ${version}; Kafka 2.4 or later speaks it`)
    }
  }
}

/** @throws RangeError when `text` is not HOST:PORT */
export function parseAddress (text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  if (!match) throw new RangeError(`Kafka broker: got ${JSON.stringify(text)}, want HOST:PORT`)
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) }
}

export function nameOf ({ host, port }: Address): string { return `${host}:${port}` }

function socketTo (address: Address, deadlineMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { host, port } = address
    const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs })
    const refuse = (err: Error) => {
      clearTimeout(timer)
      socket.destroy()
      reject(new NoAnswer(`${nameOf(address)}: ${err.message}`, false, { cause: err }))
    }
    const timer = setTimeout(() => refuse(new Error(`no connection within ${deadlineMs} ms`)), deadlineMs)
    socket.once('error', refuse)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', refuse)
      resolve(socket)
    })
  })
}
