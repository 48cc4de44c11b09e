import { Agent, request } from 'node:http'
import { userIdOf } from '../load/protocols/ledgerline.js'

const agent = new Agent({ keepAlive: true, maxSockets: 1 })

/** @returns {(number: number) => Promise<void>} sends a message to all; resolves when the server has taken it */
export function pusherFor ({ kind, target, clients, rooms = 0 }) {
  if (rooms > 0) return posterFor({ kind, target, rooms })
  if (kind === 'socket.io') return number => post(target.controlPort, '/signal', String(number))
  const userIds = Array.from({ length: clients }, (_, i) => userIdOf(i))
  const headers = { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' }
  return number => {
    const body = JSON.stringify({ to: { userIds }, payload: String(number) })
    return post(target.controlPort, '/v1/downlinks', body, headers)
  }
}

/** The same message to each room. */
function posterFor ({ kind, target, rooms }) {
  const names = Array.from({ length: rooms }, (_, i) => roomOf(i))
  if (kind === 'socket.io') {
    return async number => {
      for (const room of names) await post(target.controlPort, '/post', JSON.stringify({ room, payload: String(number) }))
    }
  }
  const headers = { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' }
  return async number => {
    const body = JSON.stringify({ payload: String(number) })
    for (const room of names) await post(target.controlPort, `/v1/rooms/${room}/posts`, body, headers)
  }
}

/** The room of the client with this number, where there are `rooms`. */
export function roomOf (index, rooms = Infinity) {
  return `room-${index % rooms}`
}

function post (port, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method: 'POST', agent, headers }
    const sent = request(options, response => {
      response.resume()
      response.once('end', () => {
        if (response.statusCode < 300) resolve()
        else reject(new Error(`a push was answered with ${response.statusCode}`))
      })
    })
    sent.once('error', reject)
    sent.end(body)
  })
}
