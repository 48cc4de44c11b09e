import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import { wrong } from './setting.js'

/** The files that a client's TLS is made of, in PEM, and what begins the names of their variables (`KAFKA_SSL`). */
export interface TlsFiles {
  readonly prefix: string
  /** Instead of the certificate authorities that Node.js knows. */
  readonly caFile: string | undefined
  /** Of the client, with its intermediate ones; none without its key. */
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly keyPassword: string | undefined
  /** Whom the server's certificate must be for; undefined: the host that is connected to. */
  readonly serverName: string | undefined
}

/** For `tls.connect`, whose options it is copied into for each connection. */
export interface ClientTls {
  readonly secureContext: SecureContext
  readonly servername?: string
}

/**
 * The files are read again for each connection, so that renewed ones are taken without a restart; while they do not fit
 * together, or are away, those read last stay in use.
 *
 * @throws ConfigError naming the variable where a file can't be read, or does not hold what it should
 */
export function clientTls (files: TlsFiles): ClientTls {
  let known = contentsOf(files)
  let context = contextOf(files, known)
  return {
    get secureContext () {
      try {
        const now = contentsOf(files)
        if (now.every((text, i) => text === known[i])) return context
        context = contextOf(files, now)
        known = now
      } catch {} // half of a renewal
      return context
    },
    ...(files.serverName === undefined ? {} : { servername: files.serverName }),
  }
}

type Contents = readonly [ca: string | undefined, cert: string | undefined, key: string | undefined]

function contentsOf ({ prefix, caFile, certFile, keyFile }: TlsFiles): Contents {
  return [
    contentOf(`${prefix}_CA_FILE`, caFile, certificates),
    contentOf(`${prefix}_CERT_FILE`, certFile, certificates),
    contentOf(`${prefix}_KEY_FILE`, keyFile, privateKey),
  ]
}

const certificates = 'a file with certificates in PEM'
const privateKey = 'a file with a private key in PEM'

function contentOf (variable: string, path: string | undefined, want: string): string | undefined {
  try {
    return path === undefined ? undefined : readFileSync(path, 'utf8')
  } catch (err) {
    throw wrong(variable, path!, `${want} (${(err as NodeJS.ErrnoException).code})`, err)
  }
}

function contextOf (files: TlsFiles, [ca, cert, key]: Contents): SecureContext {
  const { prefix, caFile, certFile, keyFile, keyPassword } = files
  if (ca !== undefined) parsed(`${prefix}_CA_FILE`, caFile!, certificates, () => new X509Certificate(ca))
  if ((cert === undefined) !== (key === undefined)) {
    const [set, absent] = cert === undefined ? ['KEY', 'CERT'] : ['CERT', 'KEY']
    throw wrong(`${prefix}_${absent}_FILE`, '', `the file that belongs to ${prefix}_${set}_FILE`)
  }
  if (cert !== undefined) {
    const certificate = parsed(`${prefix}_CERT_FILE`, certFile!, certificates, () => new X509Certificate(cert))
    const secret = keyOf(files, key!)
    if (!certificate.checkPrivateKey(secret)) {
      throw wrong(`${prefix}_KEY_FILE`, keyFile!, `the key of the first certificate in ${prefix}_CERT_FILE`)
    }
  }
  return createSecureContext({ ca, cert, key, passphrase: keyPassword })
}

function keyOf ({ prefix, keyFile, keyPassword }: TlsFiles, key: string): KeyObject {
  const open = () => createPrivateKey({ key, ...(keyPassword === undefined ? {} : { passphrase: keyPassword }) })
  try {
    return open()
  } catch (err) {
    const { code = '', message } = err as NodeJS.ErrnoException
    if (code === 'ERR_MISSING_PASSPHRASE') throw wrong(`${prefix}_KEY_PASSWORD`, '', `the password of ${prefix}_KEY_FILE`)
    if (/decrypt|passphrase/i.test(message)) throw wrong(`${prefix}_KEY_PASSWORD`, 'another', `the password of ${prefix}_KEY_FILE`)
    return parsed(`${prefix}_KEY_FILE`, keyFile!, privateKey, open)
  }
}

function parsed<T> (variable: string, path: string, want: string, parse: () => T): T {
  try {
    return parse()
  } catch (err) {
    throw wrong(variable, path, want, err)
  }
}
