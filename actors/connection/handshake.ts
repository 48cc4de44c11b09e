import { userIdOf } from '../../schemas/apps.js'
import type { Connect } from '../../schemas/frames.js'
import {
  clientBytesMax, idWanted, isId, isTextWithin, platformBytesMax, textWanted, tokenBytesMax, utf8Fits,
} from '../../schemas/text.js'
import type { Welcome } from '../user/effects.js'
import { closeConnection, ledgerRetryMs, sendAwaySoon } from './close.js'
import { newConnectionId } from './connection-id.js'
import type { Connection } from './connection.js'
import type { Identity } from './edge-context.js'
import { downlinkSeqMax } from './limits.js'
import { tokenAllows } from './rooms.js'
import { endOf, isOfAnotherDevice, otherDevice, refusalOf, tellExpiry } from './token.js'

/** Past it a user's next connection is not opened: its first frames would be read before it can be held. */
const userDebtMsMax = 10_000

/** The first frame. What the client sends behind it waits until its token is verified. */
export function connect (connection: Connection, frame: Connect): void {
  const { edge } = connection
  const wrong = wrongField(frame)
  if (wrong) {
    closeConnection(connection, 'bad-frame', wrong)
    return
  }
  connection.life.verify()
  if (!edge.admits(connection.wire.transport, undefined)) {
    sendAwaySoon(connection)
    return
  }
  connection.hold()
  const { token, deviceId, platform, client } = frame
  edge.verify(token, { frame: 'connect', deviceId, platform, client, address: connection.wire.address }).then(
    identity => { connection.tell({ type: 'verified', connect: frame, identity }) },
    error => { connection.tell({ type: 'fail', ...refusalOf(edge, error) }) })
}

/** The token is good: tells the ledger. The user actor answers with `welcome`. */
export function open (connection: Connection, frame: Connect, identity: Identity): void {
  const { edge, wire, life } = connection
  const { deviceId, platform, client, sessionId, downlinkSeq } = frame
  if (isOfAnotherDevice(identity, deviceId)) {
    closeConnection(connection, 'bad-token', otherDevice)
    return
  }
  // Others may have connected since the token was checked, and only now it is known who the user is.
  if (!edge.admits(wire.transport, identity.userId)) {
    sendAwaySoon(connection)
    return
  }
  const away = edge.usersAway()
  if (away !== '') {
    // No user actor would answer, and the ledger would get two entries for each try.
    closeConnection(connection, 'ledger-unavailable', away, { retryAfterMs: ledgerRetryMs() })
    return
  }
  const debtMs = edge.flow.debtMs(identity.userId)
  if (debtMs > userDebtMsMax) {
    closeConnection(connection, 'rate-limited', 'its user has sent more than he may', { retryAfterMs: debtMs })
    return
  }
  const joined = edge.apps?.join(connection, identity.userId)
  if (joined === 'unknown') {
    closeConnection(connection, 'bad-token', 'this application is not served here any more')
    return
  }
  if (joined === 'full') {
    closeConnection(connection, 'rate-limited', 'this application has all the connections that it may have here', {
      retryAfterMs: ledgerRetryMs(),
    })
    return
  }
  life.open(edge.ticks(), endOf(edge, identity))
  connection.connectionId = newConnectionId()
  connection.userId = identity.userId
  connection.deviceId = deviceId
  connection.platform = platform
  connection.tokenId = identity.tokenId
  if (identity.isAsked) connection.untoldExpiryMs = identity.expiresAtMs
  connection.partition = edge.partitionOf(identity.userId)
  edge.flow.join(connection, identity.userId)
  tokenAllows(connection, identity.rooms)
  edge.opened(connection)
  connection.record(Date.now(), {
    type: 'ConnectionOpened',
    connectionId: connection.connectionId,
    nodeId: edge.nodeId,
    nodeEpoch: edge.nodeEpoch,
    deviceId,
    platform,
    client,
    sessionId,
    transport: wire.transport,
    address: wire.address,
    downlinkSeq,
    loginPolicy: edge.apps?.loginPolicyOf(identity.userId) ?? edge.limits.loginPolicy,
    uplinkWindow: edge.limits.uplinkWindow,
    tokenId: identity.tokenId,
    presence: edge.limits.presence,
    takesOver: true,
  })
}

/** The user actor has taken the connection in. */
export function welcome (connection: Connection, { resumed, uplinkSeq, downlinkSeq, lastSeq, missed }: Welcome): void {
  const { edge, life, window, cursor, reading } = connection
  const { heartbeatMs, uplinkWindow, frameBytesMax } = edge.limits
  life.welcome()
  window.place(uplinkSeq)
  cursor.place(downlinkSeq, lastSeq)
  reading.settle(connection)
  connection.write({
    op: 'connected',
    connectionId: connection.connectionId,
    nodeId: edge.nodeId,
    userId: userIdOf(connection.userId), // no device hears of apps
    resumed,
    uplinkSeq,
    downlinkSeq,
    missed,
    heartbeatMs,
    uplinkWindow,
    frameBytesMax,
    serverTimeMs: Date.now(),
  })
  if (connection.untoldExpiryMs < Infinity) tellExpiry(connection, connection.untoldExpiryMs)
}

function wrongField (frame: Connect): string | undefined {
  const { token, deviceId, sessionId, platform, client, downlinkSeq } = frame
  if (!utf8Fits(token, tokenBytesMax)) return `token: ${textWanted(tokenBytesMax)}`
  if (!isId(deviceId)) return `deviceId: ${idWanted}`
  if (!isId(sessionId)) return `sessionId: ${idWanted}`
  if (!isTextWithin(platform, platformBytesMax)) return `platform: ${textWanted(platformBytesMax)}`
  if (!isTextWithin(client, clientBytesMax)) return `client: ${textWanted(clientBytesMax)}`
  if (downlinkSeq < 0 || downlinkSeq > downlinkSeqMax) return `downlinkSeq: want 0 to ${downlinkSeqMax}`
  return undefined
}
