import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { errors, GatewayError } from '../../schemas/errors.js'
import type { ErrorCode } from '../../schemas/errors.js'
import { looksLikeProxyHeader } from '../edge/proxy-header.js'
import { safeHeaders } from './browsers.js'

/** Every error over HTTP has this form (protocol.md 5). */
export interface ErrorAnswer {
  readonly statusCode: number
  readonly code: ErrorCode
  /** The status in words. */
  readonly error: string
  readonly message: string
}

/** An error whose status says more than that of its code, with headers that say what would be right. */
export class HttpError extends GatewayError {
  readonly #statusCode: number

  constructor (
    statusCode: number, code: ErrorCode, message: string, readonly headers: Readonly<Record<string, string>> = {}
  ) {
    super(code, message)
    this.#statusCode = statusCode
  }

  override get statusCode (): number { return this.#statusCode }
}

export const errorSchema = {
  $id: 'Error',
  type: 'object',
  required: ['statusCode', 'code', 'error', 'message'],
  properties: {
    statusCode: { type: 'integer' },
    code: { type: 'string', description: 'one of docs/errors.md' },
    error: { type: 'string' },
    message: { type: 'string' },
  },
}

/** What a route's `response` says about the errors that it may answer with. */
export function errorAnswers (...codes: ErrorCode[]): Record<string, object> {
  const answers: Record<string, { description: string, $ref: string }> = {}
  for (const code of codes) {
    const { status, meaning } = errors[code]
    const other = answers[String(status)]
    answers[String(status)] = { description: other ? `${other.description} ${meaning}` : meaning, $ref: 'Error#' }
  }
  return answers
}

/** For `setErrorHandler` and `frameworkErrors`: never a stack, and nothing of an error that is not the caller's. */
export function answerError (err: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): void {
  const answer = describe('code' in err && err.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' ? notJson(request) : err)
  if (answer.code === 'internal') request.log.error({ err, route: request.routeOptions?.url }, 'request failed')
  if (answer.code === 'unauthorized') reply.header('www-authenticate', 'Bearer')
  if (err instanceof HttpError) reply.headers(err.headers)
  const isBusy = answer.statusCode === 429 || answer.statusCode === 503
  if (isBusy && !reply.hasHeader('retry-after')) reply.header('retry-after', String(waitSecondsOf(err)))
  reply.code(answer.statusCode).type('application/json; charset=utf-8').send(answer)
}

/** Whole seconds, as HTTP has them: never too early. */
function waitSecondsOf (err: Error): number {
  return err instanceof GatewayError ? Math.max(1, Math.ceil(err.retryAfterMs / 1_000)) : 1
}

function notJson ({ headers, routeOptions }: FastifyRequest): GatewayError {
  const given = headers['content-type']
  const { content = { 'application/json': {} } } = (routeOptions?.schema?.body ?? {}) as { content?: object }
  const wanted = Object.keys(content).join(' or ')
  return new GatewayError('unsupported-media-type', given === undefined
    ? `want the header content-type: ${wanted}`
    : `got content-type: ${given}, want ${wanted}`)
}

/**
 * What reached the HTTP port and was not HTTP, or came too slowly. The offender alone is closed.
 *
 * @param headerRefused told where it was a PROXY header of somebody who may send none
 */
export function answerClientError (err: NodeJS.ErrnoException, socket: Socket, headerRefused?: () => void): void {
  if (err.code === 'ECONNRESET' || socket.destroyed) return
  const { rawPacket } = err as { rawPacket?: Buffer }
  const isProxyHeader = rawPacket !== undefined && looksLikeProxyHeader(rawPacket)
  if (isProxyHeader) headerRefused?.()
  const [statusCode, message] = clientErrors[String(err.code)] ??
    (isProxyHeader ? strangersHeader : [400, 'the bytes received are no HTTP/1.1 request'])
  endWithError(socket, new HttpError(statusCode, 'bad-request', message))
}

const strangersHeader = [
  400, 'a PROXY header from an address that LEDGERLINE_TRUSTED_PROXIES does not name, or a second one',
] as const

const clientErrors: Readonly<Record<string, readonly [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not come in time'],
  HPE_HEADER_OVERFLOW: [431, 'the header fields are too large'],
}

/** Answers on a bare socket, one that no reply of fastify's stands for, and ends it. */
export function endWithError (socket: Duplex, error: GatewayError): void {
  const answer = describe(error)
  const body = JSON.stringify(answer)
  const headers = {
    connection: 'close',
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    ...safeHeaders,
    ...error instanceof HttpError ? error.headers : {},
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  if (!socket.writable) {
    socket.destroy()
    return
  }
  socket.once('finish', () => { socket.destroy() })
  socket.on('error', () => { socket.destroy() })
  socket.end(`HTTP/1.1 ${answer.statusCode} ${answer.error}\r\n${lines.join('')}\r\n${body}`)
}

/** What an answer says of an error; of one that is not the caller's nothing but that. */
export function describe (err: FastifyError | Error): ErrorAnswer {
  if (err instanceof GatewayError && err.statusCode !== null) return answerOf(err.statusCode, err.code, err.message)
  const status = 'statusCode' in err && typeof err.statusCode === 'number' ? err.statusCode : 500
  if (status >= 400 && status < 500) return answerOf(status, codeOf(status), err.message)
  return answerOf(500, 'internal', errors.internal.meaning)
}

/** The code for an error of Fastify's own. */
function codeOf (statusCode: number): ErrorCode {
  switch (statusCode) {
    case 401: return 'unauthorized'
    case 403: return 'forbidden'
    case 404: return 'not-found'
    case 405: return 'method-not-allowed'
    case 413: return 'payload-too-large'
    case 415: return 'unsupported-media-type'
    default: return 'bad-request'
  }
}

function answerOf (statusCode: number, code: ErrorCode, message: string): ErrorAnswer {
  return { statusCode, code, error: STATUS_CODES[statusCode] ?? 'Error', message }
}
