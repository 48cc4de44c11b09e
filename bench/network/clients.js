/*
  Each peer's own client library, with the waits that it has by default: what an application would see. A client
  tells of each message it gets, by its number.
*/
import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import { token, userIdOf } from '../load/protocols/ledgerline.js'

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
 * @param {{ kind: string, target: object, program: string }} options
 * @returns {Promise<(index: number, port: number, told: Told) => Client>}
 */
export async function clientMaker ({ kind, target, program }) {
  return kind === 'socket.io' ? await socketIoMaker() : await ledgerlineMaker(kind, target, program)
}

async function ledgerlineMaker (kind, target, program) {
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
    client.on('downlink', ({ payload }) => { told.message(Number(Buffer.from(payload))) })
    client.connect()
    return client
  }
}

async function socketIoMaker () {
  const { io } = await import('socket.io-client')
  return (_index, port, told) => {
    const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'] })
    socket.on('connect', told.connected)
    socket.on('disconnect', told.disconnected)
    socket.on('m', payload => { told.message(Number(payload)) })
    return socket
  }
}
