import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { Test } from 'tap'

export interface Signer {
  readonly publicKey: JWK
  readonly publicPem: string
  /** @param named false leaves out the `kid` */
  sign (claims: Record<string, unknown>, named?: boolean): Promise<string>
}

/** A key pair of an issuer; whoever has its public key can verify what it signs. */
export async function signer (kid: string, alg = 'ES256'): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg)
  return {
    publicPem: await exportSPKI(publicKey),
    publicKey: { ...await exportJWK(publicKey), kid, use: 'sig' },
    sign: (claims, named = true) => new SignJWT(claims)
      .setProtectedHeader({ alg, ...(named ? { kid } : {}) }).sign(privateKey),
  }
}

type Answer = (response: ServerResponse) => void

/** A host of a key set that does what the test says. */
export class KeyHost {
  requests = 0
  #answer: Answer = response => { response.writeHead(500).end() }
  #server = createServer((_request, response) => {
    this.requests++
    this.#answer(response)
  })

  #port = 0

  static async start (t: Test): Promise<KeyHost> {
    const host = new KeyHost()
    await host.listen()
    t.teardown(() => host.refuse())
    return host
  }

  get url (): string { return `http://127.0.0.1:${this.#port}/jwks.json` }

  has (...signers: Signer[]): void {
    this.answers(200, JSON.stringify({ keys: signers.map(({ publicKey }) => publicKey) }))
  }

  answers (status: number, body: string): void {
    this.#answer = response => { response.writeHead(status, { 'content-type': 'application/json' }).end(body) }
  }

  /** Answers the next requests when `take` releases them, with what it has now. */
  holds (take: (release: () => void) => void, ...signers: Signer[]): void {
    const body = JSON.stringify({ keys: signers.map(({ publicKey }) => publicKey) })
    this.#answer = response => { take(() => { response.writeHead(200).end(body) }) }
  }

  /** Takes requests and never answers. */
  hangs (): void { this.#answer = () => {} }

  /** Answers the head at once, and never the end. */
  drips (): void {
    this.#answer = response => {
      response.writeHead(200)
      response.write('{"keys":[')
    }
  }

  /** Nobody listens any more. */
  async refuse (): Promise<void> {
    this.#server.closeAllConnections()
    if (!this.#server.listening) return
    await new Promise(resolve => { this.#server.close(resolve) })
  }

  async listen (): Promise<void> {
    await new Promise<void>(resolve => { this.#server.listen(this.#port, '127.0.0.1', resolve) })
    this.#port = (this.#server.address() as AddressInfo).port
  }
}
