import { NotAdmitted } from '../ledger/kafka/no-answer.js'
import { shownUrl } from './shown-url.js'

export interface OauthClient {
  readonly url: string
  readonly clientId: string
  /** Asked for at each request, for secrets are renewed. */
  readonly clientSecret: () => Promise<string>
  readonly scope?: string | undefined
}

const requestMs = 5_000
/** A token is used for this share of its life, so that a login with it lasts for a while. */
const usedShare = 0.75
const reasonCharsMax = 300

/**
 * Tokens by the client credentials grant of OAuth 2 (RFC 6749, 4.4), each used for most of its life.
 *
 * @returns rejects with NotAdmitted where the issuer refuses us, with Error where it does not answer as one does
 */
export function oauthToken (client: OauthClient): () => Promise<string> {
  let token: Promise<Token> | undefined
  return async () => {
    const last = token
    const known = await last?.catch(() => undefined)
    // All connections that log in at once share one answer.
    if (token === last && (known === undefined || performance.now() >= known.untilMs)) token = request(client)
    return (await token!).value
  }
}

interface Token { readonly value: string, readonly untilMs: number }

async function request ({ url, clientId, clientSecret, scope }: OauthClient): Promise<Token> {
  const login = [clientId, await clientSecret()].map(formEncoded).join(':')
  const startedMs = performance.now()
  let status: number, text: string
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(login).toString('base64')}`,
        accept: 'application/json',
      },
      body: new URLSearchParams({ grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) }),
      signal: AbortSignal.timeout(requestMs),
      redirect: 'error', // it would take the secret somewhere else
    })
    status = response.status
    text = await response.text()
  } catch (err) {
    const { message, cause } = err as Error
    const reason = cause instanceof Error ? cause.message : message
    throw new Error(`${shownUrl(url)} gives no token: ${reason}`, { cause: err })
  }
  const body = jsonOf(text)
  if (status === 400 || status === 401 || status === 403) {
    const why = [body.error, body.error_description].filter(part => typeof part === 'string').join(', ')
    const said = why.slice(0, reasonCharsMax) || 'no reason given'
    throw new NotAdmitted(`${shownUrl(url)} refuses client ${clientId} a token (HTTP ${status}, ${said}): ` +
      'check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_TOKEN_SCOPE')
  }
  if (status !== 200 || typeof body.access_token !== 'string') throw new Error(`${shownUrl(url)} gives no token: HTTP ${status}`)
  const seconds = Number(body.expires_in ?? 0) // where it is not said, the next login asks again
  return { value: body.access_token, untilMs: startedMs + (seconds > 0 ? seconds * 1_000 * usedShare : 0) }
}

/** RFC 6749, 2.3.1: client id and secret are encoded as in a form before they are joined. */
function formEncoded (text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}

function jsonOf (text: string): Record<string, unknown> {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {} // a proxy's page
  }
}
