import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { AuthQuestion } from '../gateway/auth/answer.js'
import type { Environment } from '../gateway/setting.js'
import type { Network } from './network.js'
import { roomsClaim } from './rooms/member.js'
import { isOpaque, readOpaque } from './tokens.js'
import type { Host, World } from './world.js'

/** What it does in place of an answer: nothing, or it cuts off, fails, wants a rest, talks nonsense, is slow. */
export const tokenTroubles = ['silent', 'cut', 'failing', 'busy', 'nonsense', 'slow'] as const
export type TokenTrouble = typeof tokenTroubles[number]

const port = 8001
/** Questions at once, of one node: as it is set. */
const concurrency = 4
const cacheMs = 10_000
/** An answer comes after so long, and a slow one. */
const answerMs = [0, 40] as const
const slowMs = [500, 4_000] as const
const keptWaitingMs = 60_000

/** A service of business that says of tokens whose they are, and that does not always do as it should. */
export class TokenService {
  readonly host: Host
  readonly complaints: string[] = []
  trouble: TokenTrouble | undefined
  /** By node's address: questions of its process that have no answer. */
  readonly #open = new Map<string, Set<ServerResponse>>()

  constructor (readonly world: World, network: Network, readonly address: string) {
    this.host = world.host('tokens', address)
    network.attach(this.host)
    this.host.later(0, 'listens', () => {
      createServer((request, response) => { this.#answer(request, response).catch(() => { response.destroy() }) })
        .listen(port)
    })
  }

  /** Settings of the nodes that ask it. */
  get environment (): Environment {
    return {
      LEDGERLINE_AUTH_URL: `http://${this.address}:${port}/tokens`,
      LEDGERLINE_AUTH_SECRET: `whsec_${Buffer.alloc(32, 9).toString('base64')}`,
      LEDGERLINE_AUTH_CONCURRENCY: String(concurrency),
    }
  }

  /** A node's process begins. */
  started (address: string): void { this.#open.delete(address) }

  async #answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const from = request.socket.remoteAddress!
    const open = this.#open.get(from) ?? new Set()
    this.#open.set(from, open.add(response))
    response.once('close', () => { open.delete(response) })
    if (open.size > concurrency) this.complaints.push(`${from} asks about ${open.size} tokens at once`)
    const question = JSON.parse(await text(request)) as AuthQuestion
    const { host, trouble } = this
    const [fromMs, toMs] = trouble === 'slow' ? slowMs : answerMs
    const ms = trouble === 'silent' ? keptWaitingMs : host.random.between(fromMs, toMs)
    await new Promise<void>(resolve => { host.later(ms, 'knows of a token', resolve) })
    switch (trouble) {
      case 'silent': case 'cut': response.destroy(); break
      case 'failing': response.writeHead(500).end(); break
      case 'busy': response.writeHead(503, { 'retry-after': '3' }).end(); break
      case 'nonsense': response.writeHead(200).end(host.random.pick(['', 'yes', '{}', '{"result":"allow","userId":7}'])); break
      default: response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(this.#judged(question)))
    }
  }

  #judged ({ token }: AuthQuestion): object {
    // A stranger's, or a bit of it is another one: it gave out none of these.
    if (!isOpaque(token)) return { result: 'refuse', code: 'bad-token', reason: 'nobody has it' }
    const { userId, tokenId, expiresAtMs } = readOpaque(token)
    if (expiresAtMs <= this.world.wallMsOf(this.host)) return { result: 'refuse', code: 'token-expired', reason: 'it is old' }
    return {
      result: 'allow',
      userId,
      tokenId,
      rooms: roomsClaim,
      ...expiresAtMs < Infinity ? { expiresAtMs: Math.round(expiresAtMs) } : {},
      ...this.host.random.chance(0.5) ? { cacheMs } : {},
    }
  }
}
