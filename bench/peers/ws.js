/* Bare `ws`: answers a message with its first four bytes, fans out in a loop. What a WebSocket costs by itself. */
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { listen, listenForControl, ready } from './control.js'

const http = createServer()
const server = new WebSocketServer({ server: http, perMessageDeflate: false })
server.on('connection', socket => socket.on('message', onMessage))

function onMessage (message) {
  this.send(message.subarray(0, 4))
}

const port = await listen(http)
const controlPort = await listenForControl({
  '/signal': body => { for (const socket of server.clients) socket.send(body) },
})
ready({ port, controlPort })
