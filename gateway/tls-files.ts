import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { wrong } from './setting.js'
import { isSame } from './watched-files.js'

/** The variables that name the files of one side's TLS, and hold the password of its key. */
export interface TlsVariables {
  readonly ca: string
  readonly cert: string
  readonly key: string
  readonly password: string
}

/** The files that one side's TLS is made of, in PEM. */
export interface TlsFiles {
  readonly variables: TlsVariables
  /** Whom to trust: of a client, instead of the certificate authorities that Node.js knows. */
  readonly caFile: string | undefined
  /** Of this side, with its intermediate ones; none without its key. */
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly keyPassword: string | undefined
}

/** The same of a client of ours. */
export interface ClientTlsFiles extends Omit<TlsFiles, 'variables'> {
  /** What begins the names of its variables, such as `KAFKA_SSL`. */
  readonly prefix: string
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
export function clientTls ({ prefix, serverName, ...given }: ClientTlsFiles): ClientTls {
  const variables = {
    ca: `${prefix}_CA_FILE`, cert: `${prefix}_CERT_FILE`, key: `${prefix}_KEY_FILE`, password: `${prefix}_KEY_PASSWORD`,
  }
  const files = { variables, ...given }
  let known = contentsOf(files)
  let context = createSecureContext(pemOf(files, known))
  return {
    get secureContext () {
      try {
        const now = contentsOf(files)
        if (isSame(now, known)) return context
        context = createSecureContext(pemOf(files, now))
        known = now
      } catch {} // half of a renewal
      return context
    },
    ...(serverName === undefined ? {} : { servername: serverName }),
  }
}

export type Contents = readonly [ca: string | undefined, cert: string | undefined, key: string | undefined]

/** @throws ConfigError naming the variable where a file can't be read */
export function contentsOf ({ variables, caFile, certFile, keyFile }: TlsFiles): Contents {
  return [
    contentOf(variables.ca, caFile, certificates),
    contentOf(variables.cert, certFile, certificates),
    contentOf(variables.key, keyFile, privateKey),
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

/**
 * What a secure context is made of.
 *
 * @throws ConfigError naming the variable of a file that does not hold what it should
 */
export function pemOf (files: TlsFiles, [ca, cert, key]: Contents): SecureContextOptions {
  const { variables, caFile, certFile, keyFile, keyPassword } = files
  if (ca !== undefined) parsed(variables.ca, caFile!, certificates, () => new X509Certificate(ca))
  if ((cert === undefined) !== (key === undefined)) {
    const [set, absent] = cert === undefined ? [variables.key, variables.cert] : [variables.cert, variables.key]
    throw wrong(absent, '', `the file that belongs to ${set}`)
  }
  if (cert !== undefined) {
    const certificate = parsed(variables.cert, certFile!, certificates, () => new X509Certificate(cert))
    const secret = keyOf(files, key!)
    if (!certificate.checkPrivateKey(secret)) {
      throw wrong(variables.key, keyFile!, `the key of the first certificate in ${variables.cert}`)
    }
  }
  return { ca, cert, key, passphrase: keyPassword }
}

function keyOf ({ variables, keyFile, keyPassword }: TlsFiles, key: string): KeyObject {
  const open = () => createPrivateKey({ key, ...(keyPassword === undefined ? {} : { passphrase: keyPassword }) })
  const want = `the password of ${variables.key}`
  // Node says so in several ways, by what OpenSSL did before.
  if (keyPassword === undefined && key.includes('ENCRYPTED')) throw wrong(variables.password, '', want)
  try {
    return open()
  } catch (err) {
    if (/decrypt|passphrase/i.test((err as Error).message)) throw wrong(variables.password, 'another', want)
    return parsed(variables.key, keyFile!, privateKey, open)
  }
}

function parsed<T> (variable: string, path: string, want: string, parse: () => T): T {
  try {
    return parse()
  } catch (err) {
    throw wrong(variable, path, want, err)
  }
}
