import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook as Verifier } from 'standardwebhooks'
import type { AuthQuestion } from '../../../gateway/auth/answer.js'

export const authSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

type Answer = (question: AuthQuestion, response: ServerResponse) => unknown

interface Teardown { teardown (done: () => unknown): void }

/** A service of business that says whose tokens are, or does what else the test says. */
export class AuthServer {
  /** Questions whose signature was good, by the library of Standard Webhooks. */
  readonly questions: AuthQuestion[] = []
  readonly forged: string[] = []
  /** What it does; an object is answered as JSON. */
  answer: Answer = ({ token }) => ({ result: 'allow', userId: token })
  atOnce = 0
  atOnceMost = 0
  #port = 0
  readonly #server = createServer((request, response) => {
    const parts: Buffer[] = []
    this.atOnceMost = Math.max(this.atOnceMost, ++this.atOnce)
    response.on('close', () => { this.atOnce-- })
    request.on('data', part => parts.push(part)).on('end', async () => {
      const body = Buffer.concat(parts).toString()
      let question: AuthQuestion
      try {
        question = new Verifier(authSecret).verify(body, request.headers as Record<string, string>) as AuthQuestion
      } catch (err) {
        this.forged.push((err as Error).message)
        response.writeHead(401).end()
        return
      }
      this.questions.push(question)
      const answer = await this.answer(question, response)
      if (typeof answer === 'object') response.writeHead(200).end(JSON.stringify(answer))
    })
  })

  static async start (t: Teardown): Promise<AuthServer> {
    const server = new AuthServer()
    await server.listen()
    t.teardown(() => server.die())
    return server
  }

  get url (): string { return `http://127.0.0.1:${this.#port}/auth?tenant=7` }

  get settings (): Record<string, string> {
    return { LEDGERLINE_AUTH_URL: this.url, LEDGERLINE_AUTH_SECRET: authSecret }
  }

  /** Each question is answered with this. */
  says (status: number, body: string, headers: Record<string, string> = {}): void {
    this.answer = (_question, response) => { response.writeHead(status, headers).end(body) }
  }

  /** Takes questions and never answers. */
  hangs (): void { this.answer = () => {} }

  /** Nobody listens any more, and answers that are under way are cut off. */
  async die (): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise(resolve => { this.#server.close(resolve) })
  }

  async listen (): Promise<void> {
    await new Promise<void>(resolve => { this.#server.listen(this.#port, '127.0.0.1', resolve) })
    this.#port = (this.#server.address() as AddressInfo).port
  }
}
