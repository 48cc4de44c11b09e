import { SignJWT } from 'jose'
import { mkdtemp, rm } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { request as requestTls } from 'node:https'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { connect as connectTls, type ConnectionOptions, TLSSocket } from 'node:tls'
import pino from 'pino'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { readConfig } from '../../gateway/read-config.js'
import { ensureSecrets } from '../../gateway/secrets.js'
import type { Environment } from '../../gateway/setting.js'
import { type RunningNode, startNode } from '../../gateway/main.js'
import type { OpenStores } from '../../gateway/startup/base.js'

/** How long a test waits for what must come: long, for a machine may be busy, and all is well long before. */
const patienceMs = 60_000

export const jwtSecret = 'the secret of every node in the tests'

/** With the name of what is wrong where it tells of a condition. */
export interface LogRecord { readonly level: number, readonly msg: string, readonly condition?: string }

/** Of a process nobody may know of a port that it lacks. */
type Running = Omit<RunningNode, 'api' | 'metrics'> & Partial<Pick<RunningNode, 'api' | 'metrics'>>

/** A whole node in this process, on a data directory of its own. */
export class TestNode {
  /** Log records of level warn and above, or of the one that the test wanted. */
  readonly logged: LogRecord[]
  readonly #running: Running

  /** @param ca whom its clients trust, where it speaks TLS: PEM */
  constructor (running: Running, logged: LogRecord[], readonly ca?: string) {
    this.#running = running
    this.logged = logged
  }

  get http (): string { return this.#running.http }
  /** Where requests with an API key go. */
  get api (): string { return this.#running.api ?? this.http }
  /** Where metrics want no key; empty without a port of their own. */
  get metrics (): string { return this.#running.metrics ?? '' }
  get httpPort (): number { return Number(new URL(this.http).port) }
  get tcpPort (): number { return Number(new URL(this.#running.tcp).port) }
  get nodeId (): string { return this.#running.nodeId }
  stop (): Promise<void> { return this.#running.stop() }

  /** A token that the node accepts: `sub` and whatever `claims` add or replace. */
  token (userId: string, claims: Record<string, unknown> = {}): Promise<string> {
    return signedToken({ sub: userId, ...claims })
  }

  /** What `POST /v1/downlinks` answers. */
  async push (userId: string, payload: unknown, more: Record<string, unknown> = {}): Promise<Pushed> {
    const body = { to: { userIds: [userId] }, payload, ...more }
    const { status, json } = await this.request('POST', '/v1/downlinks', body)
    if (status !== 202) throw new Error(`push was answered with ${status} ${JSON.stringify(json)}`)
    const [user] = (json as { users: Pushed[] }).users
    return user!
  }

  /** Signals a user; again until the routing table knows the connection, for until then it reaches nobody. */
  async signal (userId: string, payload: string, more: Record<string, unknown> = {}): Promise<void> {
    await until(`${userId} is routed`, async () =>
      (await this.push(userId, payload, { delivery: 'signal', ...more })).status === 'sent')
  }

  /** Any request with the API key; the body of the answer as JSON where it is that. */
  async request (method: string, path: string, body?: unknown): Promise<Answer> {
    const headers: Record<string, string> = { authorization: 'Bearer the-key-of-a-test-node' }
    if (body !== undefined) headers['content-type'] = 'application/json'
    if (this.ca !== undefined) return await this.#requestTls(this.ca, method, path, headers, body)
    const response = await fetch(this.api + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.startsWith('application/json;') ?? false
    return { status: response.status, text, json: isJson ? JSON.parse(text) : undefined }
  }

  async #requestTls (
    ca: string, method: string, path: string, headers: Record<string, string>, body: unknown
  ): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      const request = requestTls(this.api + path, { method, headers, ca }, response => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => { text += part }).on('error', reject).on('end', () => {
          const isJson = response.headers['content-type']?.startsWith('application/json;') ?? false
          resolve({ status: response.statusCode!, text, json: isJson ? JSON.parse(text) : undefined })
        })
      })
      request.on('error', reject).end(body ? JSON.stringify(body) : undefined)
    })
  }

  /** How many connections have ended, with this code or with any; their ends are on the way to the ledger. */
  async closed (code = '[^"]*'): Promise<number> {
    const { text } = await this.request('GET', '/metrics')
    const counts = text.matchAll(new RegExp(`connections_closed_total{code="${code}"} (\\d+)`, 'g'))
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
  }

  /** Does what ends one connection, and waits until the node knows: whatever is requested now comes after that end. */
  async gone (leave: () => unknown): Promise<void> {
    const before = await this.closed()
    leave()
    await until('a connection ends', async () => await this.closed() > before)
  }
}

export interface Answer { readonly status: number, readonly json: unknown, readonly text: string }

export interface Pushed { readonly userId: string, readonly status: string }

/**
 * Starts a node that the test's end stops. By default no limit of rates, for all clients here have one address. Where
 * it has a certificate, that of its authority stands beside it as `ca.crt`.
 */
export async function startTestNode (
  t: Test, environment: Environment = {}, level = 'warn', open?: OpenStores
): Promise<TestNode> {
  const dataDir = await mkdtemp(join(tmpdir(), 'ledgerline-test-'))
  t.teardown(() => rm(dataDir, { recursive: true, force: true }))
  const config = readConfig({
    LEDGERLINE_HTTP_PORT: '0',
    LEDGERLINE_TCP_PORT: '0',
    LEDGERLINE_API_KEYS: 'the-key-of-a-test-node',
    LEDGERLINE_JWT_SECRET: jwtSecret,
    LEDGERLINE_ACCEPT_RATE: '0',
    LEDGERLINE_FRAME_RATE: '0',
    LEDGERLINE_BYTE_RATE: '0',
    LEDGERLINE_USER_BYTE_RATE: '0',
    LEDGERLINE_NODE_ID: 'n1',
    LEDGERLINE_DATA: dataDir,
    ...environment,
  })
  const logged: LogRecord[] = []
  const log = pino({ level }, { write (line: string) { logged.push(JSON.parse(line)) } })
  const running = await startNode(await ensureSecrets(config), log, undefined, open)
  t.teardown(() => running.stop())
  const { LEDGERLINE_TLS_CERT: cert } = environment
  return new TestNode(running, logged, cert === undefined ? undefined : readFileSync(join(dirname(cert), 'ca.crt'), 'utf8'))
}

/** @param secret another one than the node's makes the signature wrong */
export function signedToken (claims: Record<string, unknown>, { alg = 'HS256', secret = jwtSecret } = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret))
}

/** Waits until `condition` gives something else than false or undefined, and returns that. */
export async function until<T> (
  what: string, condition: () => T | false | undefined | Promise<T | false | undefined>
): Promise<T> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const value = await condition()
    if (value !== false && value !== undefined) return value
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** What has arrived and nobody has taken yet, and whoever waits for more. */
class Inbox<T> {
  readonly #items: T[] = []
  #end: Error | undefined
  #wake = () => {}

  get size (): number { return this.#items.length }
  put (item: T): void { this.#items.push(item); this.#wake() }
  end (why: Error): void { this.#end ??= why; this.#wake() }

  /** @throws Error when the connection has ended, or after a long wait */
  async next (): Promise<T> {
    const deadline = Date.now() + patienceMs
    while (this.#items.length === 0) {
      if (this.#end) throw this.#end
      if (Date.now() >= deadline) throw new Error('waited in vain for a frame')
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, deadline - Date.now())
        this.#wake = () => { clearTimeout(timer); resolve() }
      })
    }
    return this.#items.shift()!
  }

  rest (): T[] { return this.#items.splice(0) }
}

/** A raw TCP client: it knows `length:uint32be` and nothing else of the protocol. */
export class TcpClient {
  readonly #inbox = new Inbox<Buffer>()
  #bytes: Buffer = Buffer.alloc(0)
  /** Set by a reset, also one that comes after the server's FIN. */
  #failure: Error | undefined

  /** @param tls for a node that speaks TLS */
  static async open (t: Test, node: TestNode, tls: ConnectionOptions = {}): Promise<TcpClient> {
    const to = { host: '127.0.0.1', port: node.tcpPort, allowHalfOpen: true, noDelay: true }
    const socket = node.ca === undefined
      ? connect(to)
      : connectTls({ ca: node.ca, ...tls, socket: connect(to), servername: 'localhost' })
    return await TcpClient.over(t, socket)
  }

  /** On a socket that is being opened. */
  static async over (t: Test, socket: Socket): Promise<TcpClient> {
    t.teardown(() => { socket.destroy() })
    const client = new TcpClient(socket)
    const opened = socket instanceof TLSSocket ? 'secureConnect' : 'connect'
    await new Promise<void>((resolve, reject) => { socket.once(opened, resolve).once('error', reject) })
    return client
  }

  private constructor (readonly socket: Socket) {
    socket.on('data', chunk => { this.#read(chunk) })
    socket.on('end', () => {
      this.#inbox.end(new Error('the server has closed'))
      socket.end()
    })
    socket.on('error', err => { this.#failure = err; this.#inbox.end(err) })
    socket.on('close', () => { this.#inbox.end(new Error('the socket is closed')) })
  }

  /** Writes literal bytes; spaces count for nothing. */
  send (...hex: string[]): void {
    this.socket.write(Buffer.from(hex.join('').replaceAll(' ', ''), 'hex'))
  }

  write (bytes: Uint8Array): void { this.socket.write(bytes) }

  /** The next frame, opcode and body. */
  next (): Promise<Buffer> { return this.#inbox.next() }

  /** Frames that wait to be taken. */
  get waiting (): number { return this.#inbox.size }

  /** Waits until both sides have closed; returns the frames that nobody took. A reset throws. */
  async closed (): Promise<Buffer[]> {
    await until('the server closes', () => this.socket.closed)
    if (this.#failure) throw this.#failure
    if (this.#bytes.length > 0) throw new Error('the server closed within a frame')
    return this.#inbox.rest()
  }

  #read (chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    let start = 0
    while (this.#bytes.length - start >= 4) {
      const end = start + 4 + this.#bytes.readUInt32BE(start)
      if (end > this.#bytes.length) break
      this.#inbox.put(this.#bytes.subarray(start + 4, end))
      start = end
    }
    this.#bytes = this.#bytes.subarray(start)
  }
}

/** A WebSocket client of messages; it knows nothing of what is in them. */
export class WebSocketClient {
  readonly #inbox = new Inbox<string | Buffer>()
  closeCode: number | undefined
  closeReason = ''

  static async open (t: Test, node: TestNode, protocol?: string): Promise<WebSocketClient> {
    const url = `${node.http.replace('http', 'ws')}/v1/connect`
    const ws = new WebSocket(url, protocol === undefined ? [] : [protocol], {
      perMessageDeflate: false, ...(node.ca === undefined ? {} : { ca: node.ca }),
    })
    t.teardown(() => { ws.terminate() })
    const client = new WebSocketClient(ws)
    await new Promise<void>((resolve, reject) => { ws.once('open', resolve).once('error', reject) })
    return client
  }

  private constructor (readonly ws: WebSocket) {
    ws.on('message', (data, isBinary) => { this.#inbox.put(isBinary ? data as Buffer : String(data)) })
    ws.on('error', err => { this.#inbox.end(err) })
    ws.on('close', (code, reason) => {
      this.closeCode = code
      this.closeReason = String(reason)
      this.#inbox.end(new Error(`the server has closed with ${code}`))
    })
  }

  /** A string goes as a text message, bytes as a binary one. */
  send (message: string | Uint8Array): void { this.ws.send(message) }

  next (): Promise<string | Buffer> { return this.#inbox.next() }
  get waiting (): number { return this.#inbox.size }

  /** Waits for the end; returns the messages that nobody took. */
  async closed (): Promise<Array<string | Buffer>> {
    await until('the server closes', () => this.closeCode !== undefined)
    return this.#inbox.rest()
  }
}
