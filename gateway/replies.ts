import { Ajv } from 'ajv'
import { GatewayError } from '../schemas/errors.js'
import type { DownlinkCommand } from '../schemas/records.js'
import { groupReplyId, webhookReplyId } from '../schemas/reply-id.js'
import { refusalOf, usersMax } from './downlink-command.js'
import type { GroupName } from './groups/groups.js'
import { type DownlinkMessage, messageOf, messageSchema } from './http/downlink-message.js'
import { ajvRules, idSchema, textSchema } from './http/shapes.js'
import type { PushAnswer } from './push.js'
import { publicStreams } from './streams/public.js'

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

/** Of an id of a record: it may be made of the id of a user, or of a room, and a number. */
const recordIdBytesMax = 512

interface ReplyDownlink extends DownlinkMessage {
  readonly inReplyTo?: string
  readonly userIds?: readonly string[]
}

/** With an ack: it names what it answers within a stream. */
interface AckReply extends ReplyDownlink { readonly stream?: string }

const replySchema = {
  ...messageSchema,
  properties: {
    ...messageSchema.properties,
    inReplyTo: {
      ...textSchema(recordIdBytesMax, 1), description: 'id of what it answers; absent: of the only one that there was',
    },
    userIds: {
      type: 'array', minItems: 1, maxItems: usersMax, items: idSchema, description: 'absent: the user of what it answers',
    },
  },
}

const ackReplySchema = {
  ...replySchema,
  properties: {
    ...replySchema.properties,
    stream: {
      type: 'string',
      enum: publicStreams.map(({ stream: { name } }) => name),
      description: 'of what it answers; absent: the only one that the cursors are of',
    },
  },
}

/** Streams whose records have the user before the last `/` of their id. */
const ofUsers: ReadonlySet<string> = new Set(['uplinks', 'presence', 'receipts', 'offline'])

/** What an answer may have as `downlinks`. */
export const repliesSchema = { type: 'array', maxItems: repliesMax, items: replySchema }

const ajv = new Ajv({ verbose: true, useDefaults: true, allowUnionTypes: true, ...ajvRules })
const isReplies = ajv.compile<ReplyDownlink[]>(repliesSchema)
const isReply = ajv.compile<AckReply>(ackReplySchema)

/**
 * What an answer of a webhook asks for. Each has an id that is made of what it answers, so that the same answer, given
 * again, sends nothing a second time.
 *
 * @param downlinks as JSON has it
 * @param from the webhook, and the app of those who were told, which its users are of
 * @throws GatewayError `bad-request` or `payload-too-large`, where nothing of it is sent
 */
export function repliesIn (
  downlinks: unknown, answered: readonly Answered[], from: { readonly webhook: string, readonly app: string },
  frameBytesMax: number
): DownlinkCommand[] {
  if (!isReplies(downlinks)) {
    const { instancePath, message = '' } = isReplies.errors![0]!
    throw new GatewayError('bad-request', `downlinks${instancePath} ${message}`)
  }
  const nths = new Nths()
  return downlinks.map((downlink, i) => {
    const { inReplyTo } = downlink
    const to = inReplyTo === undefined
      ? answered.length === 1 ? answered[0] : undefined
      : answered.find(({ id }) => id === inReplyTo)
    if (!to) throw new GatewayError('bad-request', `downlinks/${i}/inReplyTo: want the id of what it answers`)
    try {
      const messageId = webhookReplyId(from.webhook, to.id, nths.next(to.id))
      return commandOf({ messageId, ...downlink }, to.userId, from.app, frameBytesMax)
    } catch (err) {
      throw err instanceof GatewayError ? new GatewayError(err.code, `downlinks/${i}: ${err.message}`) : err
    }
  })
}

/**
 * What an ack of a group comes with, each by itself: one that can't be sent takes no other with it, and counts among
 * those to its record all the same, so that the others have the same ids where it is put right.
 *
 * @param replies as JSON has them
 * @param streams of what is acked
 * @returns for each, in order, the command or why it can't be sent: `bad-request` or `payload-too-large`
 */
export function repliesOfAck (
  replies: readonly object[], streams: ReadonlySet<string>, { app, group }: GroupName, frameBytesMax: number
): Array<DownlinkCommand | GatewayError> {
  const [streamOfAll] = streams.size === 1 ? streams : []
  const nths = new Nths()
  return replies.map(reply => {
    const { inReplyTo: id, stream = streamOfAll } = reply as AckReply
    const nth = nths.next(`${stream} ${id}`)
    try {
      if (!isReply(reply)) {
        const { instancePath, message = '' } = isReply.errors![0]!
        throw new GatewayError('bad-request', `${instancePath} ${message}`.trim())
      }
      if (id === undefined) throw new GatewayError('bad-request', 'inReplyTo: want the id of what it answers')
      if (stream === undefined) throw new GatewayError('bad-request', 'stream: want that of what it answers')
      const userId = ofUsers.has(stream) && id.includes('/') ? id.slice(0, id.lastIndexOf('/')) : undefined
      return commandOf({ messageId: groupReplyId(group, stream, id, nth), ...reply }, userId, app, frameBytesMax)
    } catch (err) {
      if (err instanceof GatewayError) return err
      throw err
    }
  })
}

/** Numbers replies from 0 among those that answer the same. */
class Nths {
  readonly #counts = new Map<string, number>()

  next (answered: string): number {
    const nth = this.#counts.get(answered) ?? 0
    this.#counts.set(answered, nth + 1)
    return nth
  }
}

/**
 * @param userId whose what it answers is; undefined for nobody's
 * @throws GatewayError `bad-request` or `payload-too-large`
 */
function commandOf (
  downlink: ReplyDownlink, userId: string | undefined, app: string, frameBytesMax: number
): DownlinkCommand {
  const userIds = downlink.userIds ?? (userId === undefined ? [] : [userId])
  const command = { ...messageOf(downlink, app), userIds }
  const refusal = refusalOf({ ...command, roomId: '' }, frameBytesMax)
  if (refusal) throw refusal
  return command
}

/** @throws GatewayError where not all of it could be stored: what was is known when it is sent again */
export async function sendReplies (commands: readonly DownlinkCommand[], { push }: ReplyDeps): Promise<void> {
  for (const command of commands) {
    const { users } = await push(command)
    const failed = users.find(({ status }) => status === 'rejected')
    if (failed) throw new GatewayError('ledger-unavailable', `the ledger did not take it: ${failed.code}`)
  }
}
