import { type IncomingHttpHeaders, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'

/*
  RFC 6455 by hand, for what a proper client would never send.

  Frame => FIN_OPCODE MASK_LENGTH MASK PAYLOAD
*/

export const text = 0x81
export const binary = 0x82
export const close = 0x88

export interface Message { readonly opcode: number, readonly payload: Buffer }

/** What asks for `GET /v1/connect` to become a WebSocket. */
export function upgradeRequest (protocol: string): Buffer {
  return Buffer.from('GET /v1/connect HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n' +
    'sec-websocket-version: 13\r\nsec-websocket-key: dGVzdGluZyB0ZXN0aW5nIQ==\r\n' +
    `sec-websocket-protocol: ${protocol}\r\n\r\n`)
}

export interface RefusedUpgrade {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: any
}

/** What a request for a WebSocket gets instead; undefined where it got one. */
export function refusedUpgrade (
  node: { readonly http: string, readonly ca?: string | undefined }, headers: Record<string, string> = {}
): Promise<RefusedUpgrade | undefined> {
  return new Promise((resolve, reject) => {
    const asked = (node.ca === undefined ? requestPlain : requestTls)(`${node.http}/v1/connect`, {
      agent: false,
      ...node.ca !== undefined && { ca: node.ca },
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGVzdGluZyB0ZXN0aW5nIQ==',
        ...headers,
      },
    })
    asked.on('upgrade', (_response, socket) => { socket.destroy(); resolve(undefined) })
    asked.on('response', response => {
      let text = ''
      response.on('data', chunk => { text += chunk })
      response.on('end', () => {
        resolve({ status: response.statusCode!, headers: response.headers, body: JSON.parse(text) })
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

/** A frame of less than 64 KiB, masked as a client's must be. */
export function rawFrame (finOpcode: number, payload: Uint8Array, { masked = true } = {}): Buffer {
  const length = payload.length < 126 ? Buffer.of(payload.length) : Buffer.of(126, payload.length >> 8, payload.length)
  if (!masked) return Buffer.concat([Buffer.of(finOpcode), length, payload])
  length[0]! |= 0x80
  const mask = payload.length % 2 === 0 ? Buffer.alloc(4) : Buffer.of(0x5a, 0xa5, 0x3c, 0xc3)
  return Buffer.concat([Buffer.of(finOpcode), length, mask, payload.map((byte, i) => byte ^ mask[i % 4]!)])
}

/** The whole messages in what a server sent, and how many bytes they take; undefined before the upgrade is done. */
export function messagesIn (received: Buffer): { messages: Message[], bytes: number } | undefined {
  const answer = received.indexOf('\r\n\r\n')
  if (answer < 0) return undefined
  if (!received.toString('latin1').startsWith('HTTP/1.1 101 ')) throw new Error(`refused: ${received.subarray(0, 30)}`)
  const messages: Message[] = []
  let bytes = answer + 4
  while (bytes + 4 <= received.length || bytes + 2 + (received[bytes + 1] ?? 126) <= received.length) {
    const long = received[bytes + 1] === 126
    const start = bytes + (long ? 4 : 2)
    const end = start + (long ? received.readUInt16BE(bytes + 2) : received[bytes + 1]!)
    if (end > received.length) break
    messages.push({ opcode: received[bytes]!, payload: received.subarray(start, end) })
    bytes = end
  }
  return { messages, bytes }
}
