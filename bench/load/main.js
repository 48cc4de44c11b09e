/*
  The load generator: a process of its own on a core of its own. Its parent sends it commands over IPC, one at a time:
  `{ command, ...options }`, each answered with `{ result }` or `{ error }`. It ends with its parent.
*/
import { restingLoop } from '../cluster/resting-loop.js'
import { Connections, protocolNamed } from './connections.js'
import { closedLoop } from './closed-loop.js'
import { Crowd } from './crowd.js'
import { fanout } from './fanout.js'
import { openLoop } from './open-loop.js'
import { join, posts } from './rooms.js'

let connections
let crowd
let payload
let protocol

const commands = {
  /** Says whom to speak to, and how. */
  setup (options) {
    protocol = options.protocol
    payload = Buffer.alloc(options.payloadBytes, 'ledgerline ')
    connections = new Connections(options.target, protocolNamed(protocol, options.target, payload, options))
    crowd = new Crowd(options.target)
  },
  open: ({ count }) => connections.open(count),
  uplinks: options => closedLoop(connections, options),
  schedule: options => openLoop(connections, options),
  rest: options => restingLoop(connections, options),
  fanout: options => fanout(connections, { ...options, protocol, payload }),
  join: options => join(connections, options),
  posts: options => posts(connections, options),
  gather: options => crowd.gather(options),
  flood: options => crowd.flood(options),
  calm: options => crowd.calm(options),
  report: options => crowd.report(options),
  leave: options => crowd.leave(options),
  pace: options => crowd.pace(options),
}

process.on('message', async ({ command, ...options }) => {
  try {
    const result = await Promise.race([commands[command](options), connections.failure])
    process.send({ result: result ?? {} })
  } catch (err) {
    process.send({ error: err.message })
  }
})
process.on('disconnect', () => process.exit(0))
