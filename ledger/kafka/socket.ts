import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext } from 'node:tls'
import { nameOf, type Address } from './address.js'
import { NoAnswer, NotAdmitted } from './no-answer.js'

/** TLS towards the brokers, as kafkajs's `ssl`. */
export interface Ssl {
  /** Read anew for each connection, for certificates are renewed. */
  readonly secureContext: SecureContext
  /** Whom the brokers' certificates must be for, instead of the host that is connected to. */
  readonly servername?: string
}

const keepAliveMs = 30_000

/** @throws NoAnswer when there is no connection by then; NotAdmitted where TLS with this broker comes to nothing */
export function socketTo (address: Address, ssl: Ssl | undefined, deadlineMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { host, port } = address
    const tcp = { host, port }
    const socket = ssl === undefined
      ? connect(tcp)
      : connectTls({ ...tcp, secureContext: ssl.secureContext, servername: ssl.servername ?? (isIP(host) ? '' : host) })
    socket.setNoDelay(true)
    socket.setKeepAlive(true, keepAliveMs)
    const refuse = (err: Error) => {
      clearTimeout(timer)
      socket.destroy()
      const broken = ssl && (err as NodeJS.ErrnoException).code === 'ECONNRESET' ? `${err.message}, ${isItTls}` : err.message
      reject(refusalOf(err, address) ?? new NoAnswer(`${nameOf(address)}: ${broken}`, false, { cause: err }))
    }
    const timer = setTimeout(() => refuse(new Error(`no connection within ${deadlineMs} ms`)), deadlineMs)
    socket.once('error', refuse)
    socket.once(ssl === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer)
      socket.off('error', refuse)
      resolve(socket)
    })
  })
}

/** In words what is to be done about an error of TLS; undefined for any other. */
export function refusalOf (err: Error, address: Address): NotAdmitted | undefined {
  const { code = '' } = err as NodeJS.ErrnoException
  const reason = tlsReasons[code] ?? (/_ALERT_/.test(code) ? `TLS with it comes to nothing: ${err.message}` : undefined)
  if (reason === undefined) return undefined
  return new NotAdmitted(`Kafka broker ${nameOf(address)}: ${reason} (${code})`, { cause: err })
}

/** An alert of TLS, or a handshake that went wrong, where an answer of Kafka should begin. */
export function looksLikeTls (bytes: Buffer): boolean {
  return (bytes[0] === 0x15 || bytes[0] === 0x16) && bytes[1] === 0x03
}

const isItTls = 'which is how a port without TLS answers it, too: see KAFKA_SSL'
const noTls = 'it does not speak TLS on this port: name its TLS port in KAFKA_BROKERS, or unset KAFKA_SSL'
const untrusted = 'its certificate is not trusted: name that of its CA in KAFKA_SSL_CA_FILE'
const wantsCertificate = 'it wants a client certificate that it trusts: see KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE'

const tlsReasons: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  CERT_UNTRUSTED: untrusted,
  CERT_SIGNATURE_FAILURE: untrusted,
  CERT_HAS_EXPIRED: 'its certificate has expired, or our clock is wrong',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet, or our clock is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is for another name: name it in KAFKA_BROKERS as its certificate does, or set KAFKA_SSL_SERVER_NAME',
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: wantsCertificate,
  'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE': wantsCertificate,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: wantsCertificate,
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN': wantsCertificate,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: wantsCertificate,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: wantsCertificate,
}
