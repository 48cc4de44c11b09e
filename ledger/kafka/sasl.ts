import { NoAnswer, NotAdmitted } from './no-answer.js'
import {
  authenticators, errorName, saslAuthenticate, saslHandshake, unsupportedMechanism, type Api, type SaslMechanism,
} from './wire.js'

/*
  Logins, by kafkajs's authenticators. What they send goes through our own connection, for a login has a deadline, and
  is renewed while requests wait (KIP-368).
*/

/** Who logs in, with kafkajs's names. What it holds is read at every login: passwords and tokens are renewed. */
export type Sasl =
  | {
    readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'
    readonly username: string
    /** @throws Error in words where it can't be read */
    readonly password: () => Promise<string>
  }
  | {
    readonly mechanism: 'OAUTHBEARER'
    /** @throws Error in words where none is to be had; NotAdmitted where that takes a person to mend */
    readonly oauthBearerProvider: () => Promise<OauthToken>
  }

export interface OauthToken { readonly value: string, readonly extensions?: Readonly<Record<string, string>> }

/** What the broker is shown; whatever had to be fetched for it has been. */
export interface Credentials {
  readonly mechanism: SaslMechanism
  readonly username?: string
  readonly password?: string
  readonly oauthBearerProvider?: () => Promise<OauthToken>
}

export type Ask = <Question, Answer>(api: Api<Question, Answer>, question: Question) => Promise<Answer>

const illegalState = 34

/** @throws NoAnswer where they can't be had just now, NotAdmitted where it takes a person to mend that */
export async function credentialsOf (sasl: Sasl): Promise<Credentials> {
  try {
    if (sasl.mechanism !== 'OAUTHBEARER') {
      return { mechanism: sasl.mechanism, username: sasl.username, password: await sasl.password() }
    }
    const token = await sasl.oauthBearerProvider()
    return { mechanism: sasl.mechanism, oauthBearerProvider: async () => token }
  } catch (err) {
    if (err instanceof NoAnswer) throw err
    throw new NoAnswer(`no login for Kafka: ${(err as Error).message}`, false, { cause: err })
  }
}

/**
 * Logs in, or again before the session ends; the broker takes no other request on the connection meanwhile.
 *
 * @param broker for messages
 * @returns how long the session lasts, ms; 0 for as long as the connection
 * @throws NotAdmitted where the broker refuses, NoAnswer where it does not answer
 */
export async function login (ask: Ask, credentials: Credentials, broker: string): Promise<number> {
  const { mechanism } = credentials
  const { errorCode, enabledMechanisms } = await ask(saslHandshake, { mechanism })
  if (errorCode === unsupportedMechanism) {
    throw new NotAdmitted(`Kafka broker ${broker} takes no logins by ${mechanism}: ` +
      `set KAFKA_SASL_MECHANISM to one of ${enabledMechanisms.join(', ')}`)
  }
  if (errorCode === illegalState) {
    throw new NotAdmitted(`Kafka broker ${broker} takes no logins on this port: ` +
      'name its SASL port in KAFKA_BROKERS, or unset KAFKA_SASL_MECHANISM')
  }
  if (errorCode !== 0) throw new NotAdmitted(`Kafka broker ${broker} takes no login: ${errorName(errorCode)}`)
  let lifetimeMs = 0
  let failure: Error | undefined
  const authenticator = authenticators[mechanism](credentials)({
    host: broker,
    port: 0,
    logger: silent,
    async saslAuthenticate ({ request, response }) {
      try {
        const answer = await ask(saslAuthenticate, { authBytes: await request.encode() })
        if (answer.errorCode !== 0) throw new Error(answer.errorMessage ?? errorName(answer.errorCode))
        lifetimeMs = Number(answer.sessionLifetimeMs)
        if (response) return response.parse(await response.decode(answer.authBytes))
        // A token that is refused is answered with the reason, as if it were a further step (RFC 7628, 3.2.2).
        const said = answer.authBytes.subarray(4).toString()
        if (said !== '') throw new Error(said)
      } catch (err) {
        failure = err as Error
        throw err
      }
    },
  })
  try {
    await authenticator.authenticate()
  } catch (err) {
    if (failure instanceof NoAnswer) throw failure
    throw refused(credentials, broker, failure ?? err as Error)
  }
  return lifetimeMs
}

function refused ({ mechanism, username }: Credentials, broker: string, cause: Error): NotAdmitted {
  const who = username === undefined ? 'the token' : `user ${username}`
  const check = username === undefined
    ? 'check what the token is for, and who issues it'
    : 'check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM'
  return new NotAdmitted(`Kafka broker ${broker} refuses ${who} (${mechanism}: ${cause.message}): ${check}`, { cause })
}

const silent = { debug () {}, error () {} }
