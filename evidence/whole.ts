import type { Block, Hole, LogReader, ReadRange } from '../ledger/log.js'
import { GatewayError } from '../schemas/errors.js'
import type { Stream } from '../schemas/streams.js'

const attemptsMax = 5

/** Retention deleted blocks that were still to be read: what is made of the others would be wrong. */
export class BlocksGone extends GatewayError {
  constructor ({ name }: Stream<any>, partition: number, { from, to }: Hole) {
    super('not-ready', `${name}: the blocks from ${partition}@${from} to ${partition}@${to - 1n} were deleted by ` +
      'retention while they were being read; ask again')
  }
}

/**
 * Blocks of a range, none left out.
 *
 * @throws BlocksGone when retention has deleted some, also at the beginning of the range
 */
export async function * readWhole<T> (
  log: Pick<LogReader, 'read'>, stream: Stream<T>, partition: number, range: ReadRange
): AsyncGenerator<Block<T>> {
  let hole: Hole | undefined
  const passed = (one: Hole) => { hole ??= one }
  for await (const block of log.read(stream, partition, { ...range, passed })) {
    if (hole) throw new BlocksGone(stream, partition, hole)
    yield block
  }
  if (hole) throw new BlocksGone(stream, partition, hole)
}

/** Tries again from the first block that is kept then, for what reads from there: retention passes it seldom. */
export async function anew<T> (attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (err) {
      if (!(err instanceof BlocksGone) || attempts === attemptsMax) throw err
    }
  }
}
