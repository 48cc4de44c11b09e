import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { GatewayError } from '../../schemas/errors.js'
import type { Client } from './clients.js'

/*
  What a proxy says before the first byte of its client, and before TLS: haproxy.org, proxy-protocol.txt, 2.8.

  Header  => V1 | V2
  V1      => "PROXY TCP4 " SOURCE " " DESTINATION " " PORT " " PORT CRLF | "PROXY TCP6 " ... | "PROXY UNKNOWN" ... CRLF
  V2      => SIGNATURE VERSION_COMMAND FAMILY LENGTH ADDRESSES TLVS
    VERSION_COMMAND => 0x20 LOCAL: the proxy's own connection | 0x21 PROXY
    FAMILY          => 0x11 TCP over IPv4 | 0x21 TCP over IPv6 | others, whose addresses are none of a client's
    LENGTH          => uint16, big-endian: bytes of ADDRESSES and TLVS
*/

const v1Start = Buffer.from('PROXY ')
const v2Signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const v2FixedBytes = 16

/** CRLF included, as the specification has it. */
const v1BytesMax = 107

/** Addresses take 36 bytes of it at most; the rest is for TLVs, which may have a certificate in them. */
const v2BytesMax = 4_096

const crlf = '\r\n'

export interface ProxyHeader {
  /** How long the header is: the client's first byte is behind it. */
  readonly bytes: number
  /** Undefined where the proxy speaks for itself (LOCAL), or does not tell (UNKNOWN): it is its own client then. */
  readonly client: Client | undefined
}

/** What the first bytes of a socket are. */
export type FirstBytes =
  | { readonly is: 'header', readonly header: ProxyHeader }
  /** Too few to tell, or to have all of it. */
  | { readonly is: 'partial' }
  /** Something else. */
  | { readonly is: 'other' }

const partial: FirstBytes = { is: 'partial' }
const other: FirstBytes = { is: 'other' }

/**
 * @param bytes the first that came
 * @throws GatewayError `bad-frame` for a header that is not as it must be, or too long
 */
export function readProxyHeader (bytes: Buffer): FirstBytes {
  if (startsWith(bytes, v1Start)) return bytes.length < v1Start.length ? partial : readV1(bytes)
  if (startsWith(bytes, v2Signature)) return bytes.length < v2FixedBytes ? partial : readV2(bytes)
  return other
}

/** True where it begins like a PROXY header, as far as that can be told: no frame of ours and no request does. */
export function looksLikeProxyHeader (bytes: Uint8Array): boolean {
  return bytes.length >= 5 && (startsWith(bytes, v1Start) || startsWith(bytes, v2Signature))
}

/** True while what is there of it does not differ. */
function startsWith (bytes: Uint8Array, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length)
  return start.subarray(0, length).equals(bytes.subarray(0, length))
}

function readV1 (bytes: Buffer): FirstBytes {
  const line = bytes.subarray(0, v1BytesMax).toString('latin1')
  const end = line.indexOf(crlf)
  if (end < 0) {
    if (bytes.length < v1BytesMax) return partial
    throw bad(`a line of more than ${v1BytesMax} bytes`)
  }
  return { is: 'header', header: { bytes: end + crlf.length, client: clientOfLine(line.slice(v1Start.length, end)) } }
}

function clientOfLine (line: string): Client | undefined {
  if (/^UNKNOWN(?: |$)/.test(line)) return undefined
  const [family, source = '', destination = '', ...ports] = line.split(' ')
  const isIP = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isWithoutZone : undefined
  if (isIP === undefined) throw bad('want TCP4, TCP6 or UNKNOWN')
  if (!isIP(source) || !isIP(destination)) throw bad(`want two addresses of ${family}`)
  if (ports.length !== 2 || !ports.every(isPort)) throw bad('want two ports')
  return { ip: source, port: Number(ports[0]) }
}

function isWithoutZone (ip: string): boolean { return isIPv6(ip) && !ip.includes('%') }

function isPort (text: string): boolean { return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 }

function readV2 (bytes: Buffer): FirstBytes {
  const version = bytes[v2Signature.length]! >> 4
  const command = bytes[v2Signature.length]! & 15
  const family = bytes[v2Signature.length + 1]!
  if (version !== 2) throw bad(`version ${version}, want 2`)
  if (command > 1) throw bad(`command ${command}, want LOCAL (0) or PROXY (1)`)
  if (family >> 4 > 3 || (family & 15) > 2) throw bad(`no address family: 0x${family.toString(16).padStart(2, '0')}`)
  const end = v2FixedBytes + bytes.readUInt16BE(v2FixedBytes - 2)
  if (end > v2BytesMax) throw bad(`${end} bytes, want ${v2BytesMax} at most`)
  if (bytes.length < end) return partial
  return { is: 'header', header: { bytes: end, client: command === 1 ? clientOfV2(bytes, family, end) : undefined } }
}

function clientOfV2 (bytes: Buffer, family: number, end: number): Client | undefined {
  const ipBytes = family === 0x11 ? 4 : family === 0x21 ? 16 : 0
  if (ipBytes === 0) return undefined
  if (end - v2FixedBytes < 2 * ipBytes + 4) throw bad('too short for its addresses')
  const source = bytes.subarray(v2FixedBytes, v2FixedBytes + ipBytes)
  return { ip: ipBytes === 4 ? source.join('.') : ipv6(source), port: bytes.readUInt16BE(v2FixedBytes + 2 * ipBytes) }
}

/** As Node writes it. */
function ipv6 (bytes: Buffer): string {
  const address = bytes.toString('hex').replace(/(....)(?!$)/g, '$1:')
  return new SocketAddress({ address, family: 'ipv6' }).address
}

function bad (what: string): GatewayError { return new GatewayError('bad-frame', `a bad PROXY header: ${what}`) }
