import type { FastifyInstance } from 'fastify'
import type { LogReader, StoredBlocks } from '../../ledger/log.js'
import { GatewayError, type ErrorCode } from '../../schemas/errors.js'
import type { HttpDeps } from './server.js'
import { isUpgrade } from './sockets.js'

/** A single look-up, with what it takes to send the answer within 2 s. */
const lookupMs = 1_900
/** What is stored first: an append has an outcome of its own before that, unless a broker is frozen. */
const storeMs = 8_000
/** What reads a user's whole ledger. */
const readMs = 60_000
/** A kick of a connection whose user nobody named walks over a table. */
const walkMs = 10_000
/** How often it is looked, while they wait, whether the log has gone away. */
const lookMs = 500
/** Until any answer begins, by when the others have their own outcome. */
const beginMs = 65_000

const late = 'not answered in time: Kafka or Redis may be away (see /readyz)'
const lateStore = 'not known to be stored in time: the ledger may be away (see /readyz), and may have it all the same'

/**
 * The same deps, but that each answer has a deadline: a store that is frozen answers nothing, not even an error. What
 * comes later is dropped, and what it did stays done. What needs the log is not even asked for while that is known to
 * be away.
 *
 * @throws GatewayError from each of them, `not-ready` or `ledger-unavailable`, when its time is up
 */
export function withDeadlines (deps: HttpDeps): HttpDeps {
  const bounded = (ms: number, code: ErrorCode, message: string, logCode?: ErrorCode) =>
    <A extends unknown[], R>(ask: (...args: A) => R | Promise<R>) => async (...args: A): Promise<R> => {
      if (logCode !== undefined) checkLog(deps, logCode)
      return await within(ms, code, message, ask(...args))
    }
  const lookup = bounded(lookupMs, 'not-ready', late)
  const lookupOfLog = bounded(lookupMs, 'not-ready', late, 'not-ready')
  const read = <A extends unknown[], R>(ask: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    checkLog(deps, 'not-ready')
    return await within(readMs, 'not-ready', late, ask(...args), () => logTrouble(deps, 'not-ready'))
  }
  const store = bounded(storeMs, 'ledger-unavailable', lateStore, 'ledger-unavailable')
  // Whichever of the two stores it waits for.
  const kick = bounded(lookupMs, 'not-ready', lateStore, 'not-ready')(deps.kick)
  const kickOfNobody = bounded(walkMs, 'not-ready', lateStore, 'not-ready')(deps.kick)
  const [signal, push] = [lookup(deps.push), store(deps.push)]
  const [signalRoom, post] = [lookupOfLog(deps.rooms.post), store(deps.rooms.post)]
  return {
    ...deps,
    recordAsked: store(deps.recordAsked),
    ipConfig: lookup(deps.ipConfig),
    presence: lookup(deps.presence),
    nodes: lookup(deps.nodes),
    lag: lookupOfLog(deps.lag),
    topics: lookupOfLog(deps.topics),
    drainState: lookup(deps.drainState),
    bansOf: lookupOfLog(deps.bansOf),
    roomsOf: lookupOfLog(deps.roomsOf),
    state: read(deps.state),
    timeline: read(deps.timeline),
    trace: read(deps.trace),
    roomState: read(deps.roomState),
    tracePost: read(deps.tracePost),
    redeliver: read(deps.redeliver),
    drain: store(deps.drain),
    ban: store(deps.ban),
    liftBan: store(deps.liftBan),
    recall: store(deps.recall),
    grantRoom: store(deps.grantRoom),
    revokeRoom: store(deps.revokeRoom),
    rooms: {
      post: (command, tellsRepeats) => (command.delivery === 'signal' ? signalRoom : post)(command, tellsRepeats),
      close: store(deps.rooms.close),
      info: lookupOfLog(deps.rooms.info),
      keptPosts: lookupOfLog(deps.rooms.keptPosts),
      timeOf: lookupOfLog(deps.rooms.timeOf),
      members: lookupOfLog(deps.rooms.members),
    },
    broadcasts: {
      request: store(deps.broadcasts.request),
      describe: lookup(deps.broadcasts.describe),
      cancel: store(deps.broadcasts.cancel),
    },
    push: (command, tellsRepeats) => (command.delivery === 'signal' ? signal : push)(command, tellsRepeats),
    kick: command => (command.userId === '' ? kickOfNobody : kick)(command),
    groups: {
      ...deps.groups,
      ack: store(deps.groups.ack),
      list: lookupOfLog(deps.groups.list),
      describe: lookupOfLog(deps.groups.describe),
      forget: store(deps.groups.forget),
    },
    logReader: boundedReader(deps.logReader, deps),
  }
}

/**
 * Every answer begins in time, whatever its route asks for. Not by fastify's `handlerTimeout`: that would also end
 * answers that are under way, and those of followers have no end.
 */
export function beginInTime (app: FastifyInstance, ms = beginMs): void {
  const clocks = new WeakMap<object, NodeJS.Timeout>()
  // Not before its body is there, which has a clock of its own.
  app.addHook('preHandler', async ({ raw }, reply) => {
    if (isUpgrade(raw)) return // the handshake of the edge bounds it, and nothing of the request may outlive that
    clocks.set(reply, setTimeout(() => {
      if (!reply.sent) reply.send(new GatewayError('not-ready', late))
    }, ms))
    reply.raw.once('close', () => { clearTimeout(clocks.get(reply)) })
  })
  app.addHook('onSend', async (_request, reply) => { clearTimeout(clocks.get(reply)) })
}

function checkLog (deps: Pick<HttpDeps, 'logAway'>, code: ErrorCode): void {
  const error = logTrouble(deps, code)
  if (error) throw error
}

function logTrouble ({ logAway }: Pick<HttpDeps, 'logAway'>, code: ErrorCode): GatewayError | undefined {
  const reason = logAway?.() ?? ''
  return reason === '' ? undefined : new GatewayError(code, reason)
}

/** Where a stream begins and ends is asked for before its lines are sent; these then come for as long as they come. */
function boundedReader (
  log: LogReader & Partial<StoredBlocks>, deps: Pick<HttpDeps, 'logAway'>
): LogReader & Partial<StoredBlocks> {
  return {
    partitions: stream => log.partitions(stream),
    read: (stream, partition, range) => log.read(stream, partition, range),
    async bounds (stream, partition) {
      checkLog(deps, 'ledger-unavailable')
      return await within(lookupMs, 'ledger-unavailable', late, log.bounds(stream, partition))
    },
    async offsetAt (stream, partition, atMs) {
      checkLog(deps, 'ledger-unavailable')
      return await within(lookupMs, 'ledger-unavailable', late, log.offsetAt(stream, partition, atMs))
    },
    ...log.readFrames ? { readFrames: (stream, partition, range) => log.readFrames!(stream, partition, range) } : {},
  }
}

/**
 * @param trouble is called now and then, and ends it by what it returns
 * @throws GatewayError `code` when `work` is not done by then
 */
async function within<T> (
  ms: number, code: ErrorCode, message: string, work: T | Promise<T>, trouble?: () => Error | undefined
): Promise<T> {
  if (!(work instanceof Promise)) return work
  let timer: NodeJS.Timeout | undefined
  let looking: NodeJS.Timeout | undefined
  const ended = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new GatewayError(code, message)) }, ms)
    if (!trouble) return
    looking = setInterval(() => {
      const error = trouble()
      if (error) reject(error)
    }, lookMs)
  })
  try {
    return await Promise.race([work, ended])
  } finally {
    clearTimeout(timer)
    clearInterval(looking)
  }
}
