import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import { GatewayError } from '../../schemas/errors.js'
import { didYouMean } from '../../schemas/nearest.js'
import { readBody } from './body.js'
import { HttpError } from './errors.js'
import { wantedText } from './shapes.js'
import { connectPath } from './sockets.js'

/**
 * Node takes the first of some that come twice, and joins others. What stands in front may take the last one, and would
 * have checked that.
 */
const singletons: ReadonlySet<string> = new Set([
  'host', 'authorization', 'content-length', 'content-type', 'origin', 'sec-websocket-key', 'sec-websocket-version',
])

/** Refuses what HTTP/1.1 does not allow and Node lets pass; for `onRequest`. */
export async function requireHttp11 ({ raw }: FastifyRequest): Promise<void> {
  if (raw.httpVersion !== '1.1') throw new GatewayError('bad-request', `got HTTP/${raw.httpVersion}, want HTTP/1.1`)
  if (raw.headers.host === undefined) throw new GatewayError('bad-request', 'want the header host')
  const { expect } = raw.headers
  if (expect !== undefined && !/^100-continue$/i.test(expect)) {
    throw new HttpError(417, 'bad-request', 'Expect: want 100-continue, or no such header')
  }
  const seen = new Set<string>()
  for (let i = 0; i < raw.rawHeaders.length; i += 2) {
    const name = raw.rawHeaders[i]!.toLowerCase()
    if (seen.has(name)) throw new GatewayError('bad-request', `got the header ${name} more than once`)
    if (singletons.has(name)) seen.add(name)
  }
  const query = raw.url!.indexOf('?')
  if (query >= 0 && !isPercentEncoded(raw.url!.slice(query + 1))) {
    throw new GatewayError('bad-request', 'querystring: want percent-encoded UTF-8')
  }
}

function isPercentEncoded (text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/**
 * Has every route refuse query parameters that it does not know. Goes before the routes. Only the door of WebSockets
 * bears any: an endpoint may have some for a proxy on the way, and a client must not stay away for it.
 */
export function refuseUnknownParameters (app: FastifyInstance): void {
  app.addHook('onRoute', route => {
    if (route.url === connectPath) return
    const known = (route.schema?.querystring as { properties?: object } | undefined)?.properties ?? {}
    const querystring = {
      type: 'object', ...route.schema?.querystring as object, properties: known, additionalProperties: false,
    }
    route.schema = { ...route.schema, querystring }
  })
}

/** JSON in UTF-8 and nothing else: a byte that is none would be stored as U+FFFD, and the sender never know. */
export function parseJsonStrictly (app: FastifyInstance, bodyBytesMax: number): void {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', (request, payload, done) => {
    readBody(payload, bodyBytesMax).then(body => textOf(body, decoder)).then(text => {
      // Many clients name the type with every request. A route that wants a body still says so.
      if (text === '') done(null, undefined)
      else parse(request, text, done)
    }, done)
  })
}

function textOf (body: Buffer, decoder: TextDecoder): string {
  try {
    return decoder.decode(body)
  } catch (cause) {
    throw new GatewayError('bad-request', 'body: want JSON in UTF-8', { cause })
  }
}

/**
 * For `schemaErrorFormatter`: names the field, what it got and what it wants.
 *
 * @param where it stands, in words
 */
export function describeInvalid (found: FastifySchemaValidationError[], where: string): Error {
  const errors = found as SchemaError[]
  // Of alternatives that all failed, the last error says so, and the ones before it why each did.
  const error = errors.at(-1)!
  return new Error(`${where}${error.instancePath}${reasonOf(error, where)}`) // fastify makes it a 400
}

/** As ajv has them where it is `verbose`. */
interface SchemaError extends FastifySchemaValidationError {
  readonly parentSchema: {
    readonly properties?: object
    readonly format?: string
    readonly description?: string
    readonly examples?: readonly unknown[]
  }
  readonly data: unknown
}

function reasonOf ({ keyword, params, parentSchema, data, message }: SchemaError, where: string): string {
  const wanted = wantedText(parentSchema)
  if (wanted !== undefined && keyword !== 'type') return `: got ${shown(data)}, ${wanted}`
  switch (keyword) {
    case 'additionalProperties': return unknownName(String(params.additionalProperty), parentSchema.properties ?? {}, where)
    case 'required': return `: want ${JSON.stringify(params.missingProperty)}`
    case 'enum': return `: got ${shown(data)}, want ${allowed(params.allowedValues as unknown[])}`
    case 'pattern': return `: got ${shown(data)}, want ${formOf(parentSchema, message)}`
    case 'anyOf': return `: want ${parentSchema.description ?? message}`
    default: return ` ${message}`
  }
}

function formOf ({ examples }: SchemaError['parentSchema'], otherwise = ''): string {
  return examples === undefined ? otherwise.replace(/^must /, 'text to ') : `a text such as ${shown(examples[0])}`
}

function allowed (values: readonly unknown[]): string {
  return values.map(value => JSON.stringify(value)).join(' or ')
}

function unknownName (name: string, properties: object, where: string): string {
  const kind = where === 'querystring' ? 'parameter' : 'field'
  const names = Object.keys(properties)
  const there = names.length === 0 ? 'there are none' : `there are ${names.join(', ')}`
  return `: there is no ${kind} ${shown(name)}; ${there}.${didYouMean(name, names)}`
}

/** What came, cut where it is long, never within a surrogate pair: many a parser refuses JSON with half of one. */
function shown (value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= shownMax ? text : `${text.slice(0, shownMax).replace(/\p{Surrogate}$/u, '')}...`
}

const shownMax = 80
