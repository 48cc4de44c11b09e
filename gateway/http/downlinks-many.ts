import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import { GatewayError } from '../../schemas/errors.js'
import type { DownlinkCommand } from '../../schemas/records.js'
import { messageRefusalOf, usersMax } from '../downlink-command.js'
import type { PushAnswer, PushedUser } from '../push.js'
import { awaitRecipients, recipientsAtOnce } from './auth.js'
import { type BodyLine, BodyLines } from './body-lines.js'
import { bodyBytesMax } from './body.js'
import { type DownlinkMessage, messageOf, messageSchema, traceOf } from './downlink-message.js'
import { describe } from './errors.js'
import { admitReaders, ndjsonLine, ndjsonType } from './readers.js'
import { idSchema } from './shapes.js'
import { dropRest, takesItsTime } from './sockets.js'
import { describeInvalid } from './strict.js'

/*
  POST /v1/downlinks in lines (docs/operations.md, Downlinks to many)

    body    a line with the message, then one for each user
    answer  a line with the messageId, then one for each user or line that is none, with totals now and then, and at
            last the totals

  Lines are read as they are dealt with: whoever sends faster than the ledger takes, or does not read the answer, is
  held back by TCP. So a request of any length holds one message, one batch of users and their answers.
*/

export interface DownlinksOptions {
  /**
   * Resolves once every user's request is durable, or a signal was handed on.
   *
   * @throws GatewayError `ledger-unavailable` where nothing at all was stored
   */
  readonly push: (command: DownlinkCommand, tellsRepeats: boolean) => Promise<PushAnswer>
  readonly frameBytesMax: number
  /** How long a line may take to come; 10 s by default. */
  readonly lineMs?: number
}

/** More requests at the same time are refused with `overloaded`. */
const requestsMax = 16
/** Of a line that names a user: an id, each of its characters escaped. */
const userLineBytesMax = 4_096
/** How often the totals are told in between. */
const progressMs = 1_000

const firstLineSchema = {
  ...messageSchema,
  properties: {
    ...messageSchema.properties,
    answers: {
      type: 'string',
      enum: ['all', 'failed'],
      default: 'all',
      description: '`failed`: a line only for those that are `rejected` or `conflict`',
    },
  },
}

const userLineSchema = {
  type: 'object',
  required: ['userId'],
  additionalProperties: false,
  properties: { userId: idSchema },
}

interface FirstLine extends DownlinkMessage { readonly answers: 'all' | 'failed' }

type Status = PushedUser['status']

/** Lines so far, and how many of them came to what. */
interface Totals extends Partial<Record<Status, number>> { lines: number }

/** What a line came to: as `PushedUser`, or a line that names no user. */
interface Outcome extends Partial<Omit<PushedUser, 'status'>> {
  readonly status: Status
  readonly message?: string
}

/** @returns what answers a request whose body is lines */
export function sendingToMany (app: FastifyInstance, options: DownlinksOptions) {
  const begin = admitReaders(app, requestsMax)
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const signal = begin(reply)
    takesItsTime(request.raw)
    const lines = new BodyLines(request.body as Readable, { lineMs: options.lineMs ?? 10_000, signal })
    try {
      const [first] = await lines.next(1, bodyBytesMax(options.frameBytesMax))
      if (!first) throw new GatewayError('bad-request', 'body: want a line with the message, then one for each user')
      const { answers, ...message } = parsed<FirstLine>(request, first, firstLineSchema)
      const command = { ...messageOf(message, request.app), ...traceOf(request) }
      const refusal = messageRefusalOf(command, options.frameBytesMax)
      if (refusal) throw refusal
      const sending = new Sending(request, lines, options, signal, {
        command, tellsRepeats: message.messageId !== undefined, tellsAll: answers === 'all',
      })
      return await reply.code(202).type(ndjsonType).send(Readable.from(sending.answer()))
    } catch (err) {
      dropRest(request.raw)
      throw err
    }
  }
}

interface Message {
  readonly command: Omit<DownlinkCommand, 'userIds'>
  readonly tellsRepeats: boolean
  readonly tellsAll: boolean
}

class Sending {
  readonly #request: FastifyRequest
  readonly #lines: BodyLines
  readonly #options: DownlinksOptions
  readonly #signal: AbortSignal
  readonly #message: Message
  readonly #totals: Totals = { lines: 0 }

  constructor (
    request: FastifyRequest, lines: BodyLines, options: DownlinksOptions, signal: AbortSignal, message: Message
  ) {
    this.#request = request
    this.#lines = lines
    this.#options = options
    this.#signal = signal
    this.#message = message
  }

  async * answer (): AsyncGenerator<string> {
    // Whoever has no answer to the end can repeat the request with this, and nobody gets it twice.
    yield ndjsonLine({ messageId: this.#message.command.messageId })
    const batchMax = recipientsAtOnce(this.#request, usersMax)
    let toldAtMs = performance.now()
    try {
      for (;;) {
        const lines = await this.#lines.next(batchMax, userLineBytesMax)
        if (lines.length === 0) break
        const told = await this.#sent(lines)
        if (told !== '') yield told
        if (performance.now() - toldAtMs < progressMs) continue
        yield ndjsonLine({ progress: this.#totals })
        toldAtMs = performance.now()
      }
      yield ndjsonLine({ totals: this.#totals })
    } catch (err) {
      const { code, message } = describe(this.#signal.aborted ? new GatewayError('not-ready', 'this node is stopping') : err as Error)
      if (code === 'internal') this.#request.log.error({ err }, 'request failed')
      yield ndjsonLine({ totals: this.#totals, error: { code, message } })
      dropRest(this.#request.raw)
    }
  }

  /** @returns what is told of these lines */
  async #sent (lines: readonly BodyLine[]): Promise<string> {
    /** By user: whoever is named twice gets it once. */
    const outcomes = new Map<string, Outcome>()
    const named = lines.map(line => {
      try {
        const { userId } = parsed<{ userId: string }>(this.#request, line, userLineSchema)
        outcomes.set(userId, { userId, status: 'rejected' })
        return userId
      } catch (err) {
        return err as Error
      }
    })
    const userIds = [...outcomes.keys()]
    if (userIds.length > 0) for (const user of await this.#push(userIds)) outcomes.set(user.userId, user)
    let told = ''
    for (const [i, { number }] of lines.entries()) {
      const name = named[i]!
      const outcome = typeof name === 'string' ? outcomes.get(name)! : rejected(name)
      const { status } = outcome
      this.#totals.lines++
      this.#totals[status] = (this.#totals[status] ?? 0) + 1
      const isTold = this.#message.tellsAll || status === 'rejected' || status === 'conflict'
      if (isTold) told += ndjsonLine({ line: number, ...outcome })
    }
    return told
  }

  async #push (userIds: string[]): Promise<readonly PushedUser[]> {
    const { command, tellsRepeats } = this.#message
    await awaitRecipients(this.#request, userIds.length, this.#signal)
    try {
      return (await this.#options.push({ ...command, userIds }, tellsRepeats)).users
    } catch (err) {
      if (!(err instanceof GatewayError)) throw err
      // None of these was stored; those that follow may be.
      return userIds.map(userId => ({ userId, status: 'rejected', code: err.code }))
    }
  }
}

function rejected (err: Error): Outcome { return { status: 'rejected', code: 'bad-request', message: err.message } }

/** @throws GatewayError `bad-request` saying what is wrong with it */
function parsed<T> (request: FastifyRequest, { number, text, wrong }: BodyLine, schema: object): T {
  if (wrong !== '') throw new GatewayError('bad-request', `line ${number}: ${wrong}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new GatewayError('bad-request', `line ${number}: want JSON`)
  }
  const validate = request.compileValidationSchema(schema)
  if (validate(value)) return value as T
  const { message } = describeInvalid(validate.errors as FastifySchemaValidationError[], `line ${number}`)
  throw new GatewayError('bad-request', message)
}
