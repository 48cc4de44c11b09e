import type { Resync } from '../links.js'
import type { Connection } from './connection.js'

/** Asks the user actor for what this connection has not seen. Nothing is changed by it. */
export function askUser (
  connection: Connection, { welcomed, uplinkSeq, bytesMax }: Pick<Resync, 'welcomed' | 'uplinkSeq' | 'bytesMax'>
): void {
  const { edge: { nodeId, links }, userId, partition, connectionId, cursor: { writtenSeq } } = connection
  links.toUser({
    type: 'resync', userId, partition, nodeId, connectionId, welcomed, uplinkSeq, downlinkSeq: writtenSeq, bytesMax,
  })
}

/** Which uplinks its session has: the answer is a `Welcome` once more. */
export function askForPlace (connection: Connection): void {
  askUser(connection, { welcomed: false, uplinkSeq: connection.window.ackedSeq, bytesMax: 0 })
}
