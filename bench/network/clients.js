/*
  Each peer's own client library, with the waits that it has by default: what an application would see. A client
  tells of each message it gets, by its number.
*/
import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import { token } from '../load/protocols/ledgerline.js'
import { roomOf, userOf } from './names.js'

const joinedLookMs = 20

/**
 * @typedef {object} Client
 * @property {() => Promise<unknown> | void} close
 *
 * @typedef {object} Told What a client tells.
 * @property {() => void} connected
 * @property {() => void} disconnected
 * @property {(code: string) => void} ended it will not come back
 * @property {(number: number) => void} message
 */

/**
 * @param {{ kind: string, target: object, program: string, part: number, rooms?: number }} options with `rooms` each
 *   client is in one of so many, and hears of that alone. Each `part` has users and rooms of its own
 * @returns {Promise<(index: number, port: number, told: Told) => Client>}
 */
export async function clientMaker (options) {
  const { part, rooms = 0 } = options
  const roomFor = index => rooms > 0 ? roomOf(index, rooms, part) : undefined
  if (options.kind === 'socket.io') return await socketIoMaker(roomFor)
  return await ledgerlineMaker(options, roomFor)
}

async function ledgerlineMaker ({ kind, target, program, part }, roomFor) {
  // The SDK of the build that is measured.
  const sdk = pathToFileURL(resolve(program, '../../client/node.js')).href
  const { createClient } = await import(sdk)
  const scheme = kind === 'ledgerline-tcp' ? 'tcp' : 'ws'
  const path = kind === 'ledgerline-tcp' ? '' : '/v1/connect'
  return (index, port, told) => {
    const client = createClient({
      endpoints: [`${scheme}://127.0.0.1:${port}${path}`],
      getToken: () => token(userOf(index, part), target.secret),
      deviceId: 'phone',
    })
    const roomId = roomFor(index)
    client.on('connected', () => {
      if (roomId === undefined) told.connected()
      else untilJoined(client.room(roomId), told.connected)
    })
    client.on('disconnected', ({ code, willReconnect }) => {
      told.disconnected()
      if (!willReconnect && code !== 'disconnected') told.ended(code)
    })
    const message = ({ payload }) => { told.message(Number(Buffer.from(payload))) }
    if (roomId !== undefined) client.room(roomId).on('post', message)
    else client.on('downlink', message)
    client.connect()
    return client
  }
}

/** A connection that ends before is followed by another one. */
function untilJoined (room, joined) {
  if (room.isJoined) joined()
  else setTimeout(() => { untilJoined(room, joined) }, joinedLookMs)
}

async function socketIoMaker (roomFor) {
  const { io } = await import('socket.io-client')
  return (index, port, told) => {
    const roomId = roomFor(index)
    const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'] })
    socket.on('connect', () => {
      // A session that was recovered is in its rooms.
      if (roomId !== undefined && !socket.recovered) socket.emit('join', roomId, () => { told.connected() })
      else told.connected()
    })
    socket.on('disconnect', told.disconnected)
    socket.on('m', payload => { told.message(Number(payload)) })
    return socket
  }
}
