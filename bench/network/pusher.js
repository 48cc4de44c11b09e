import { setTimeout as wait } from 'node:timers/promises'
import { Agent, request } from 'node:http'
import { roomOf, userOf } from './names.js'

const agent = new Agent({ keepAlive: true, maxSockets: 16 })

/** A gateway that is not there is asked again, and that it has had a message before it knows by the id. */
const retryMs = 100
const retriesMax = 300

/** @returns {(number: number) => Promise<unknown>} sends a message to all; resolves when the server has taken it */
export function pusherFor ({ kind, target, part, clients, rooms = 0 }) {
  if (rooms > 0) return posterFor({ kind, target, part, rooms })
  if (kind === 'socket.io') return number => post(target.controlPort, '/signal', String(number))
  const userIds = Array.from({ length: clients }, (_, i) => userOf(i, part))
  return number => {
    const body = JSON.stringify({ to: { userIds }, payload: String(number) })
    return post(target.controlPort, '/v1/downlinks', body, headersOf(target))
  }
}

/** The same message to each room, to all at once. */
function posterFor ({ kind, target, part, rooms }) {
  const names = Array.from({ length: rooms }, (_, i) => roomOf(i, rooms, part))
  if (kind === 'socket.io') {
    return number => Promise.all(names.map(room =>
      post(target.controlPort, '/post', JSON.stringify({ room, payload: String(number) }))))
  }
  return number => {
    const body = JSON.stringify({ messageId: `m${number}`, payload: String(number) })
    return Promise.all(names.map(room =>
      patiently(() => post(target.controlPort, `/v1/rooms/${room}/posts`, body, headersOf(target)))))
  }
}

async function patiently (ask) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask()
    } catch (err) {
      if (tries > retriesMax) throw err
      await wait(retryMs)
    }
  }
}

function headersOf ({ apiKey }) {
  return { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }
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
