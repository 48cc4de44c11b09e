import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook as Verifier } from 'standardwebhooks'

export const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

export interface Event {
  readonly id: string
  readonly type: string
  readonly timestamp: string
  readonly data: any
}

export interface Received {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  readonly events: readonly Event[]
}

export interface Receiver {
  readonly url: string
  readonly port: number
  /** Requests whose signature was good, whatever they were answered with. */
  readonly received: Received[]
  /** Those whose signature was not. */
  readonly forged: string[]
  /** Events of requests that were answered with 2xx. */
  readonly taken: Event[]
  /** What it does with the next requests: a status, or an answer of its own. */
  answer: (request: Received, response: ServerResponse) => number | Promise<number> | void
  close (): Promise<void>
}

interface Teardown { teardown (done: () => unknown): void }

/** A server that verifies what it gets by the library of Standard Webhooks. */
export async function startReceiver (t: Teardown, port = 0): Promise<Receiver> {
  const verifier = new Verifier(secret)
  const receiver: Omit<Receiver, 'url' | 'port' | 'close'> = { received: [], forged: [], taken: [], answer: () => 204 }
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', part => parts.push(part)).on('end', async () => {
      const body = Buffer.concat(parts).toString()
      const { url: path = '', headers } = request
      let events: Event[]
      try {
        events = [verifier.verify(body, headers as Record<string, string>)].flat() as Event[]
      } catch (err) {
        receiver.forged.push((err as Error).message)
        return response.writeHead(401).end()
      }
      const got = { path, headers, body, events }
      receiver.received.push(got)
      const status = await receiver.answer(got, response)
      if (typeof status !== 'number') return
      if (status >= 200 && status < 300) receiver.taken.push(...events)
      response.writeHead(status).end()
    })
  })
  await new Promise<void>(resolve => { server.listen(port, '127.0.0.1', resolve) })
  const close = async () => {
    server.closeAllConnections()
    await new Promise(resolve => { server.close(resolve) })
  }
  t.teardown(close)
  const { port: bound } = server.address() as AddressInfo
  return Object.assign(receiver, { url: `http://127.0.0.1:${bound}/hook?tenant=7`, port: bound, close })
}
