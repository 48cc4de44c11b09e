import type { LogReader, StoredBlocks } from '../../ledger/log.js'
import { GatewayError, type ErrorCode } from '../../schemas/errors.js'
import type { HttpDeps } from './server.js'
import type { UplinksOptions } from './uplinks.js'

type UplinksLog = UplinksOptions['log']

/** A single look-up, with what it takes to send the answer within 2 s. */
const lookupMs = 1_900
/** What is stored first: an append has an outcome of its own before that, unless a broker is frozen. */
const storeMs = 8_000
/** What reads a user's whole ledger. */
const readMs = 60_000
/** A kick of a connection whose user nobody named walks over a table. */
const walkMs = 10_000

const late = 'not answered in time: Kafka or Redis may be away (see /readyz)'
const lateStore = 'not known to be stored in time: the ledger may be away (see /readyz), and may have it all the same'

/**
 * The same deps, but that each answer has a deadline: a store that is frozen answers nothing, not even an error. What
 * comes later is dropped, and what it did stays done.
 *
 * @throws GatewayError from each of them, `not-ready` or `ledger-unavailable`, when its time is up
 */
export function withDeadlines (deps: HttpDeps): HttpDeps {
  const lookup = <A extends unknown[], R>(ask: (...args: A) => R | Promise<R>) =>
    (...args: A): Promise<R> => within(lookupMs, 'not-ready', late, ask(...args))
  const read = <A extends unknown[], R>(ask: (...args: A) => Promise<R>) =>
    (...args: A): Promise<R> => within(readMs, 'not-ready', late, ask(...args))
  const store = <A extends unknown[], R>(ask: (...args: A) => Promise<R>) =>
    (...args: A): Promise<R> => within(storeMs, 'ledger-unavailable', lateStore, ask(...args))
  return {
    ...deps,
    ipConfig: lookup(deps.ipConfig),
    presence: lookup(deps.presence),
    nodes: lookup(deps.nodes),
    lag: lookup(deps.lag),
    topics: lookup(deps.topics),
    drainState: lookup(deps.drainState),
    bansOf: lookup(deps.bansOf),
    state: read(deps.state),
    trace: read(deps.trace),
    redeliver: read(deps.redeliver),
    drain: store(deps.drain),
    ban: store(deps.ban),
    liftBan: store(deps.liftBan),
    push: (command, tellsRepeats) =>
      (command.delivery === 'signal' ? lookup(deps.push) : store(deps.push))(command, tellsRepeats),
    kick (command) {
      const deadlineMs = command.userId === '' ? walkMs : lookupMs
      return within(deadlineMs, 'not-ready', lateStore, deps.kick(command)) // whichever of the two stores it waits for
    },
    logReader: boundedReader(deps.logReader),
    uplinks: { ...deps.uplinks, log: boundedUplinks(deps.uplinks.log) },
  }
}

/** Where a stream begins and ends is asked for before its lines are sent; these then come for as long as they come. */
function boundedReader (log: LogReader & Partial<StoredBlocks>): LogReader & Partial<StoredBlocks> {
  return {
    ...boundedUplinks(log),
    offsetAt: (stream, partition, atMs) =>
      within(lookupMs, 'ledger-unavailable', late, log.offsetAt(stream, partition, atMs)),
    ...log.readFrames ? { readFrames: (stream, partition, range) => log.readFrames!(stream, partition, range) } : {},
  }
}

function boundedUplinks (log: UplinksLog): UplinksLog {
  return {
    partitions: stream => log.partitions(stream),
    read: (stream, partition, range) => log.read(stream, partition, range),
    bounds: (stream, partition) => within(lookupMs, 'ledger-unavailable', late, log.bounds(stream, partition)),
  }
}

/** @throws GatewayError `code` when `work` is not done by then */
async function within<T> (ms: number, code: ErrorCode, message: string, work: T | Promise<T>): Promise<T> {
  if (!(work instanceof Promise)) return work
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new GatewayError(code, message)) }, ms)
  })
  try {
    return await Promise.race([work, deadline])
  } finally {
    clearTimeout(timer)
  }
}
