import { randomBytes, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { Health } from '../schemas/conditions.js'
import type { Config } from './config.js'
import { wrong } from './setting.js'
import { type Contents, contentsOf, pemOf, type TlsFiles } from './tls-files.js'
import { watchFiles } from './watched-files.js'

export interface ServerTlsOptions {
  /** Told of each client that did not get through its handshake. */
  failed? (listener: Listener, error: Error): void
  /** How often the files are looked at, ms; 10 s by default. */
  readonly everyMs?: number
  readonly nowMs?: () => number
}

/** Whom a client came to. */
export type Listener = 'http' | 'tcp' | 'api' | 'metrics'

/** A certificate that ends so soon should have been renewed. */
const expiresSoonMs = 7 * 86_400_000

const variables = {
  cert: 'LEDGERLINE_TLS_CERT',
  key: 'LEDGERLINE_TLS_KEY',
  password: 'LEDGERLINE_TLS_KEY_PASSWORD',
  ca: 'LEDGERLINE_TLS_CLIENT_CA',
}

/** @throws ConfigError where `ServerTls.of` would */
export function checkServerTls (config: Config): void {
  const files = filesOf(config)
  if (files !== undefined) createSecureContext(pemOf(files, contentsOf(files)))
}

function filesOf (config: Config): TlsFiles | undefined {
  const { tlsCert: certFile, tlsKey: keyFile, tlsKeyPassword: keyPassword, tlsClientCa: caFile } = config
  if (certFile === undefined && keyFile === undefined && caFile === undefined) return undefined
  if (certFile === undefined && keyFile === undefined) {
    throw wrong(variables.cert, '', `the file of a certificate, for ${variables.ca} is set`)
  }
  return { variables, caFile, certFile, keyFile, keyPassword }
}

/**
 * The certificate of this node's listeners. Its files are read again when they change, and at SIGHUP: connections that
 * are open keep what they have, new ones get the new one. While the files do not fit together, or are away, those read
 * last stay in use, and the condition `certificate` says why.
 *
 * Sessions are resumed by tickets, whose keys are this process's and outlive the certificate.
 */
export class ServerTls {
  /** Whether the routes that want an API key want a certificate of one of these authorities, too. */
  readonly wantsClientCertificate: boolean
  readonly failed: (listener: Listener, error: Error) => void
  readonly #files: TlsFiles
  readonly #health: Health
  readonly #nowMs: () => number
  readonly #ticketKeys = randomBytes(48)
  readonly #renewed: Array<(options: SecureContextOptions) => void> = []
  readonly #stop: () => void
  #options!: SecureContextOptions
  #context!: SecureContext

  /** @throws ConfigError naming the variable where a file can't be read, or does not hold what it should */
  private constructor (
    files: TlsFiles, health: Health, { failed = () => {}, everyMs = 10_000, nowMs = Date.now }: ServerTlsOptions
  ) {
    this.failed = failed
    this.#files = files
    this.#health = health
    this.#nowMs = nowMs
    this.wantsClientCertificate = files.caFile !== undefined
    const { certFile, keyFile, caFile } = files
    this.#stop = watchFiles({
      paths: [certFile, keyFile, caFile].filter(path => path !== undefined),
      everyMs,
      read: () => contentsOf(files),
      take: contents => { this.#take(contents) },
      looked: trouble => { this.#judge(trouble) },
    })
    this.#judge('')
  }

  /**
   * @returns undefined where no certificate is configured
   * @throws ConfigError as the constructor does
   */
  static of (config: Config, health: Health, options: ServerTlsOptions = {}): ServerTls | undefined {
    const files = filesOf(config)
    return files === undefined ? undefined : new ServerTls(files, health, options)
  }

  /** For a connection that is accepted now. */
  get context (): SecureContext { return this.#context }

  /** What the context is made of. */
  get options (): SecureContextOptions { return this.#options }

  /** @param renewed called with what the next contexts are made of */
  onRenewal (renewed: (options: SecureContextOptions) => void): void { this.#renewed.push(renewed) }

  stop (): void {
    this.#stop()
    this.#health.end('certificate')
  }

  #take (contents: Contents): void {
    const options = this.#optionsOf(contents)
    this.#context = createSecureContext(options)
    this.#options = options
    for (const renewed of this.#renewed) renewed(options)
  }

  #optionsOf (contents: Contents): SecureContextOptions {
    const pem = pemOf(this.#files, contents)
    return { ...pem, minVersion: 'TLSv1.2', ticketKeys: this.#ticketKeys, sessionIdContext: 'ledgerline' }
  }

  #judge (trouble: string): void {
    const { validTo } = new X509Certificate(this.#options.cert as string)
    const left = Date.parse(validTo) - this.#nowMs()
    if (trouble !== '') this.#health.begin('certificate', `the one read last stays in use: ${trouble}`)
    else if (left <= 0) this.#health.begin('certificate', `it has expired: it was good until ${validTo}`)
    else if (left < expiresSoonMs) this.#health.begin('certificate', `it expires soon: it is good until ${validTo}`)
    else this.#health.end('certificate')
  }
}
