/*
  Socket.IO 4 at its best for small messages: WebSocket only, no compression, and the upgrade request released as its
  page on memory usage advises. With `--recovery` it keeps what it sent for two minutes, in memory, for those that come
  back.
*/
import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { listen, listenForControl, ready } from './control.js'

const http = createServer()
const io = new Server(http, {
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  ...process.argv.includes('--recovery') ? { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } } : {},
})
io.engine.on('connection', socket => { socket.request = null })
io.on('connection', socket => {
  socket.join('all')
  socket.on('m', onUplink)
  socket.on('join', onJoin)
  socket.on('post', onPost)
})

function onUplink (payload, ack) {
  ack()
}

function onJoin (room, ack) {
  this.join(room)
  ack()
}

/** To everybody in the room, its author included. */
function onPost (room, payload) {
  io.to(room).emit('m', payload)
}

function onAcks () {
  // Each client's ack was counted by the client itself when it sent it.
}

const port = await listen(http)
const controlPort = await listenForControl({
  '/signal': body => io.to('all').emit('m', body.toString()),
  '/post': body => {
    const { room, payload } = JSON.parse(body)
    onPost(room, payload)
  },
  '/downlink': body => io.to('all').timeout(30_000).emit('m', body.toString(), onAcks),
})
ready({ port, controlPort })
