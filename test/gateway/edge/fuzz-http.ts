import { connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { mutate } from '../../schemas/mutations.js'
import { upgradeRequest } from './raw-websocket.js'

const graceMs = 20
/** Longer than any answer to what is sent here takes. */
const patienceMs = 5_000

/** Requests of clients, business services and operators as they should be; none of them ends what others do. */
export function goodRequests (apiKey: string): Buffer[] {
  const authorized = ['host: localhost', `authorization: Bearer ${apiKey}`]
  const get = (path: string, ...more: string[]) =>
    Buffer.from([`GET ${path} HTTP/1.1`, ...authorized, ...more].join('\r\n') + '\r\n\r\n')
  const post = (path: string, body: object) => {
    const json = JSON.stringify(body)
    return Buffer.from([`POST ${path} HTTP/1.1`, ...authorized, 'content-type: application/json',
      `content-length: ${Buffer.byteLength(json)}`].join('\r\n') + `\r\n\r\n${json}`)
  }
  const push = JSON.stringify({ to: { userIds: ['fuzz-1', 'fuzz-2'] }, payload: { base64: 'aGVsbG8=' }, ttlMs: 1_000 })
  return [
    get('/v1/ip-config?transport=ws&region=north', 'origin: http://localhost:3000'),
    get('/healthz'), get('/readyz'), get('/v1/nodes'), get('/v1/users/fuzz-1/presence'), get('/v1/lag'), get('/v1/topics'),
    get('/v1/users/fuzz-1/state?at=2h'), get('/v1/uplinks?after=now&limit=3'), get('/v1/log/ledger'),
    get('/v1/connections?userId=fuzz-1'), get('/v1/users/fuzz-1/trace?connectionId=c'), get('/openapi.json'),
    post('/v1/downlinks', { to: { userIds: ['fuzz-1'] }, payload: 'příliš žluťoučký kůň', ttlMs: 1_000 }),
    post('/v1/downlinks', { to: { userIds: ['fuzz-2'] }, payload: 'x', delivery: 'signal', platforms: ['ios'] }),
    post('/v1/presence', { userIds: ['fuzz-1', 'fuzz-2'] }),
    post('/v1/users/fuzz-1/redeliveries', { deviceId: 'phone', fromSeq: 1, toSeq: 2 }),
    Buffer.from(['POST /v1/downlinks HTTP/1.1', ...authorized, 'content-type: application/json', 'transfer-encoding: chunked']
      .join('\r\n') + `\r\n\r\n${push.length.toString(16)}\r\n${push}\r\n0\r\n\r\n`),
    Buffer.from(['OPTIONS /v1/ip-config HTTP/1.1', 'host: localhost', 'origin: http://localhost',
      'access-control-request-method: GET'].join('\r\n') + '\r\n\r\n'),
    upgradeRequest('ledgerline.v1.json'),
  ]
}

/** Some requests on one connection, most of them mutated, behind each other or each in pieces. */
export async function feedHttp (port: number, seed: number, requests: readonly Buffer[]): Promise<number> {
  const change = mutate(seed)
  const count = 1 + seed % 5
  const parts = Array.from({ length: count }, (_, i) => change(requests[(seed + i * 7) % requests.length]!))
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  await ended(socket, () => {
    for (const part of parts) {
      const cut = seed % 3 === 0 ? seed % (part.length + 1) : 0
      if (cut > 0) socket.write(part.subarray(0, cut))
      socket.write(part.subarray(cut))
    }
  })
  return count
}

/**
 * One connection over TLS, of which one of the client's writes (a handshake message, or records of data) is mutated on
 * its way.
 */
export async function feedTls (port: number, seed: number, says: Buffer): Promise<number> {
  const change = mutate(seed)
  const wire = connect({ host: '127.0.0.1', port, noDelay: true })
  let left = seed % 4
  const pipe = new Duplex({
    read () {},
    write (chunk: Buffer, _encoding, done) {
      wire.write(left-- === 0 ? change(chunk) : chunk)
      done()
    },
  })
  wire.on('data', chunk => { pipe.push(chunk) }).on('close', () => { pipe.destroy() })
  const options = { socket: pipe, rejectUnauthorized: false, ...seed % 2 === 0 ? { maxVersion: 'TLSv1.2' as const } : {} }
  const secure = connectTls(options, () => {
    secure.write(says)
    secure.write(says)
  })
  secure.on('error', () => {}).resume()
  await ended(wire, () => {})
  secure.destroy()
  return 1
}

/** Until the server has closed, or nothing comes any more for a little while. */
async function ended (socket: Socket, opened: () => void): Promise<void> {
  await new Promise<void>(resolve => {
    let idle: NodeJS.Timeout | undefined
    const patience = setTimeout(() => { socket.destroy() }, patienceMs)
    const rest = () => {
      clearTimeout(idle)
      idle = setTimeout(() => { socket.destroy() }, graceMs)
    }
    socket.on('connect', () => { opened(); rest() })
    socket.on('data', rest)
    socket.on('error', () => {})
    socket.on('end', () => { socket.destroy() })
    socket.on('close', () => {
      clearTimeout(idle)
      clearTimeout(patience)
      resolve()
    })
  })
}
