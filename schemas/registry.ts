import { request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SecureContext } from 'node:tls'
import type { AvroSchema } from './single-object.js'

/** How a client of the registry comes, besides what its URL says. */
export interface RegistryAccess {
  /** With `https`; by default the authorities that Node.js knows are trusted. */
  readonly tls?: { readonly secureContext: SecureContext, readonly servername?: string }
  readonly username?: string
  readonly password?: string
}

/**
 * A schema registry with Confluent's REST interface. What it is asked, below its base URL:
 *
 *     POST /subjects/S                                       is this schema registered there, and by which id
 *     POST /compatibility/subjects/S/versions/latest         may it be
 *     POST /subjects/S/versions                              register it
 *     GET  /schemas/ids/N                                    the schema by its id
 */
export class SchemaRegistry {
  /** Without credentials, for messages. */
  readonly url: string
  readonly #tls: RegistryAccess['tls']
  readonly #headers: Record<string, string> = { accept: mediaType, 'content-type': mediaType }

  /** @param url may have a path, and credentials for basic authentication */
  constructor (url: string, access: RegistryAccess = {}) {
    this.#tls = access.tls
    const { origin, pathname, username, password } = new URL(url)
    this.url = `${origin}${pathname.replace(/\/+$/, '')}`
    const user = access.username ?? decodeURIComponent(username)
    const secret = access.password ?? decodeURIComponent(password)
    if (user === '' && secret === '') return
    const credentials = `${user}:${secret}`
    this.#headers['authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`
  }

  /**
   * The id of `schema`, which is registered as a version of `subject` unless it is one already. A registry that does
   * not answer is asked again for a while.
   *
   * @throws Error naming the registry, and what it says: that the schema is incompatible, or that it does not answer;
   *   RegistryRefuses at once where a person must mend how we come
   */
  async register (subject: string, schema: AvroSchema): Promise<number> {
    for (const end = Date.now() + registerMs; ; await sleep(retryMs)) {
      try {
        return await this.#registerOnce(encodeURIComponent(subject), JSON.stringify({ schema: JSON.stringify(schema) }))
      } catch (err) {
        if (err instanceof RegistryAway && Date.now() < end) continue
        if (err instanceof RegistryRefuses) throw new RegistryRefuses(`schema registry ${this.url}: ${err.message}`)
        throw new Error(`schema registry ${this.url}: ${subject}: ${(err as Error).message}`, { cause: err })
      }
    }
  }

  /**
   * @returns undefined where the registry has no schema of this id
   * @throws RegistryAway when it does not answer, or not as a registry does; RegistryRefuses
   */
  async schema (id: number): Promise<RegisteredSchema | undefined> {
    const answer = await this.#ask(`/schemas/ids/${id}`)
    if (answer.errorCode === schemaNotFound) return undefined
    const { schema, schemaType = 'AVRO' } = answer.body
    if (answer.status !== 200 || typeof schema !== 'string') throw new RegistryAway(answer.reason, true)
    return { text: schema, schemaType: String(schemaType) }
  }

  async #registerOnce (subject: string, body: string, hasConflicted = false): Promise<number> {
    const known = await this.#ask(`/subjects/${subject}`, body)
    if (known.status === 200) return idOf(known)
    if (known.status !== 404) throw refusal(known)
    // The answer to a registration says no more than that it conflicts; this one says where.
    const check = await this.#ask(`/compatibility/subjects/${subject}/versions/latest?verbose=true`, body)
    if (check.status === 200 && check.body.is_compatible === false) throw incompatible(check)
    if (check.status !== 200 && check.status !== 404) throw refusal(check) // 404: it is the first of its subject
    const registered = await this.#ask(`/subjects/${subject}/versions`, body)
    if (registered.status === 409) {
      if (hasConflicted) throw incompatible(registered)
      // Perhaps with another node that starts now and has the same schema: then it is there.
      await sleep(retryMs)
      return await this.#registerOnce(subject, body, true)
    }
    if (registered.status !== 200) throw refusal(registered)
    return idOf(registered)
  }

  async #exchange (path: string, body: string | undefined): Promise<Answer> {
    const url = new URL(this.url + path)
    const options = {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...this.#headers, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
      signal: AbortSignal.timeout(requestMs),
      agent: false as const, // questions are rare, and certificates are renewed
    }
    return await new Promise<Answer>((resolve, reject) => {
      const request = url.protocol === 'https:'
        ? requestTls(url, { ...options, ...this.#tls })
        : requestPlain(url, options)
      request.once('error', reject)
      request.once('response', response => {
        text(response).then(said => { resolve(answerOf(response.statusCode!, said)) }, reject)
      })
      request.end(body)
    })
  }

  /** @throws RegistryAway when there is no answer, or one that says to come back later; RegistryRefuses */
  async #ask (path: string, body?: string): Promise<Answer> {
    let answer: Answer
    try {
      answer = await this.#exchange(path, body)
    } catch (err) {
      const { message, code = '' } = err as NodeJS.ErrnoException
      const reason = tlsReasons.find(([pattern]) => pattern.test(code))?.[1]
      if (reason !== undefined) throw new RegistryRefuses(`${reason} (${code})`, { cause: err })
      throw new RegistryAway(message, false, { cause: err })
    }
    if (answer.status === 401 || answer.status === 403) throw new RegistryRefuses(`${answer.reason}: ${login}`)
    if (answer.status >= 500 || answer.status === 429) throw new RegistryAway(answer.reason, true)
    return answer
  }
}

/** The registry lets nobody in who comes like this: what to change, in words. */
export class RegistryRefuses extends Error {
  override readonly name = 'RegistryRefuses'
  readonly code = 'misconfigured'
}

/** As the registry has it; anybody who may write there has written it. */
export interface RegisteredSchema {
  readonly text: string
  /** `AVRO`, `JSON` or `PROTOBUF`. */
  readonly schemaType: string
}

/** The registry can not be asked now; the same question may be answered later. */
export class RegistryAway extends Error {
  override readonly name = 'RegistryAway'

  /** @param answered something did answer, be it a proxy before it, and other questions may fare better */
  constructor (message: string, readonly answered: boolean, options?: ErrorOptions) { super(message, options) }
}

const login = 'check user and password in SCHEMA_REGISTRY_URL, or SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD'
const tlsReasons: ReadonlyArray<readonly [RegExp, string]> = [
  [/SELF_SIGNED|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|CERT_UNTRUSTED|CERT_SIGNATURE_FAILURE/,
    'its certificate is not trusted: name that of its CA in SCHEMA_REGISTRY_SSL_CA_FILE'],
  [/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/, 'its certificate is not valid now, or our clock is wrong'],
  [/ERR_TLS_CERT_ALTNAME_INVALID/, 'its certificate is for another name: set SCHEMA_REGISTRY_SSL_SERVER_NAME'],
  [/ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)/, 'it does not speak TLS on this port: begin the URL with http'],
  [/ERR_SSL_.*ALERT/, 'it wants a client certificate that it trusts: see SCHEMA_REGISTRY_SSL_CERT_FILE'],
]

interface Answer {
  readonly status: number
  readonly body: any
  /** 0 for none. */
  readonly errorCode: number
  /** What went wrong, in words. */
  readonly reason: string
}

const mediaType = 'application/vnd.schemaregistry.v1+json'
const requestMs = 5_000
const registerMs = 10_000
const retryMs = 250
const schemaNotFound = 40403
const reasonCharsMax = 1_000

function answerOf (status: number, text: string): Answer {
  let body: any
  try { body = JSON.parse(text) } catch {} // a proxy's page
  const { error_code: errorCode = 0, message = 'no reason given' } = body ?? {}
  return { status, body: body ?? {}, errorCode, reason: `HTTP ${status}, ${message}`.slice(0, reasonCharsMax) }
}

function idOf ({ body: { id } }: Answer): number {
  if (!Number.isInteger(id) || id < 0 || id > 0xffffffff) throw new Error(`got id ${id}, want one of 32 bits`)
  return id
}

function refusal ({ reason }: Answer): Error { return new Error(reason) }

function incompatible ({ status, body: { messages }, reason }: Answer): Error {
  const found = Array.isArray(messages) && messages.length > 0 ? messages.join('; ') : 'it does not say why'
  const why = status === 200 ? found : reason
  return new Error(`our schema is not compatible with the latest one there: ${why}`.slice(0, reasonCharsMax))
}
