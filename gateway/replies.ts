import { Ajv } from 'ajv'
import { GatewayError } from '../schemas/errors.js'
import type { DownlinkCommand } from '../schemas/records.js'
import { refusalOf, usersMax } from './downlink-command.js'
import { type DownlinkMessage, messageOf, messageSchema } from './http/downlink-message.js'
import { ajvRules, idSchema } from './http/shapes.js'
import type { PushAnswer } from './push.js'

/** Something that business was told, and may answer. */
export interface Answered {
  /** Its id, as business has it. */
  readonly id: string
  /** Id of the user within his app who gets what answers it; undefined where it is of none. */
  readonly userId: string | undefined
}

export interface ReplyDeps {
  readonly push: (command: DownlinkCommand) => Promise<PushAnswer>
  readonly frameBytesMax: number
}

/** Downlinks of one answer. */
export const repliesMax = 1_000

interface ReplyDownlink extends DownlinkMessage {
  readonly inReplyTo?: string
  readonly userIds?: readonly string[]
}

const replySchema = {
  ...messageSchema,
  properties: {
    ...messageSchema.properties,
    inReplyTo: { ...idSchema, description: 'id of what it answers; absent: of the only one that there was' },
    userIds: {
      type: 'array', minItems: 1, maxItems: usersMax, items: idSchema, description: 'absent: the user of what it answers',
    },
  },
}

/** What an answer may have as `downlinks`. */
export const repliesSchema = { type: 'array', maxItems: repliesMax, items: replySchema }

const ajv = new Ajv({ verbose: true, useDefaults: true, allowUnionTypes: true, ...ajvRules })
const isReplies = ajv.compile<ReplyDownlink[]>(repliesSchema)
const isReply = ajv.compile<ReplyDownlink>(replySchema)

/**
 * What an answer asks for. Each has an id that is made of what it answers, so that the same answer, given again, sends
 * nothing a second time.
 *
 * @param downlinks as JSON has it
 * @param app of those who were told, which its users are of
 * @throws GatewayError `bad-request` or `payload-too-large`, where nothing of it is sent
 */
export function repliesIn (
  downlinks: unknown, answered: readonly Answered[], app: string, frameBytesMax: number
): DownlinkCommand[] {
  if (!isReplies(downlinks)) {
    const { instancePath, message = '' } = isReplies.errors![0]!
    throw new GatewayError('bad-request', `downlinks${instancePath} ${message}`)
  }
  const replies = new Replies(app, frameBytesMax)
  return downlinks.map((downlink, i) => {
    const { inReplyTo } = downlink
    const to = inReplyTo === undefined
      ? answered.length === 1 ? answered[0] : undefined
      : answered.find(({ id }) => id === inReplyTo)
    if (!to) throw new GatewayError('bad-request', `downlinks/${i}/inReplyTo: want the id of what it answers`)
    try {
      return replies.command(downlink, to)
    } catch (err) {
      throw err instanceof GatewayError ? new GatewayError(err.code, `downlinks/${i}: ${err.message}`) : err
    }
  })
}

/**
 * What an ack of a group comes with, each by itself: one that can't be sent takes no other with it. Each names what it
 * answers.
 *
 * @param replies as JSON has them
 * @param userOf whose the record of this id is; undefined for nobody's
 * @returns for each, in order, the command or why it can't be sent: `bad-request` or `payload-too-large`
 */
export function repliesOfAck (
  replies: readonly unknown[], userOf: (id: string) => string | undefined, app: string, frameBytesMax: number
): Array<DownlinkCommand | GatewayError> {
  const made = new Replies(app, frameBytesMax)
  return replies.map(reply => {
    try {
      if (!isReply(reply)) {
        const { instancePath, message = '' } = isReply.errors![0]!
        throw new GatewayError('bad-request', `${instancePath} ${message}`.trim())
      }
      const { inReplyTo: id } = reply
      if (id === undefined) throw new GatewayError('bad-request', 'inReplyTo: want the id of what it answers')
      return made.command(reply, { id, userId: userOf(id) })
    } catch (err) {
      if (err instanceof GatewayError) return err
      throw err
    }
  })
}

/** The replies of one answer as commands. */
class Replies {
  /** By id of what was answered. */
  readonly #counts = new Map<string, number>()

  constructor (readonly app: string, readonly frameBytesMax: number) {}

  /** @throws GatewayError `bad-request` or `payload-too-large` */
  command (downlink: ReplyDownlink, to: Answered): DownlinkCommand {
    const userIds = downlink.userIds ?? (to.userId === undefined ? [] : [to.userId])
    const nth = this.#counts.get(to.id) ?? 0
    this.#counts.set(to.id, nth + 1)
    const { messageId = `${to.id}/reply/${nth}` } = downlink
    const command = { ...messageOf({ ...downlink, messageId }, this.app), userIds }
    const refusal = refusalOf({ ...command, roomId: '' }, this.frameBytesMax)
    if (refusal) throw refusal
    return command
  }
}

/** @throws GatewayError where not all of it could be stored: what was is known when it is sent again */
export async function sendReplies (commands: readonly DownlinkCommand[], { push }: ReplyDeps): Promise<void> {
  for (const command of commands) {
    const { users } = await push(command)
    const failed = users.find(({ status }) => status === 'rejected')
    if (failed) throw new GatewayError('ledger-unavailable', `the ledger did not take it: ${failed.code}`)
  }
}
