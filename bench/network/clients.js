/*
  Each peer's own client library, with the waits that it has by default: what an application would see. A client
  tells of each message it gets, by its number.
*/
import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import { token, userIdOf } from '../load/protocols/ledgerline.js'
import { roomOf } from './pusher.js'

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
 * @param {{ kind: string, target: object, program: string, rooms?: number }} options with `rooms` each client is in
 *   one of so many, and hears of that alone
 * @returns {Promise<(index: number, port: number, told: Told) => Client>}
 */
export async function clientMaker ({ kind, target, program, rooms = 0 }) {
  if (kind === 'socket.io') return await socketIoMaker(rooms)
  return await ledgerlineMaker(kind, target, program, rooms)
}

async function ledgerlineMaker (kind, target, program, rooms) {
  // The SDK of the build that is measured.
  const sdk = pathToFileURL(resolve(program, '../../client/node.js')).href
  const { createClient } = await import(sdk)
  const scheme = kind === 'ledgerline-tcp' ? 'tcp' : 'ws'
  const path = kind === 'ledgerline-tcp' ? '' : '/v1/connect'
  return (index, port, told) => {
    const client = createClient({
      endpoints: [`${scheme}://127.0.0.1:${port}${path}`],
      getToken: () => token(userIdOf(index), target.secret),
      deviceId: 'phone',
    })
    client.on('connected', told.connected)
    client.on('disconnected', ({ code, willReconnect }) => {
      told.disconnected()
      if (!willReconnect && code !== 'disconnected') told.ended(code)
    })
    const message = ({ payload }) => { told.message(Number(Buffer.from(payload))) }
    if (rooms > 0) client.room(roomOf(index, rooms)).on('post', message)
    else client.on('downlink', message)
    client.connect()
    return client
  }
}

async function socketIoMaker (rooms) {
  const { io } = await import('socket.io-client')
  return (index, port, told) => {
    const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'] })
    socket.on('connect', () => {
      // A session that was recovered is in its rooms.
      if (rooms > 0 && !socket.recovered) socket.emit('join', roomOf(index, rooms), () => { told.connected() })
      else told.connected()
    })
    socket.on('disconnect', told.disconnected)
    socket.on('m', payload => { told.message(Number(payload)) })
    return socket
  }
}
