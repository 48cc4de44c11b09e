/* What a TLS server of Node costs by itself, and a plain one: it gives back what it reads. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

const [cert, key] = process.argv.slice(2)
const hold = socket => { socket.on('error', () => {}).on('data', data => { socket.write(data) }) }
const server = cert === undefined
  ? createServer(hold)
  : createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, hold)
server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  console.log(JSON.stringify({ msg: 'ready', pid: process.pid, tcp: `tcp://127.0.0.1:${server.address().port}` }))
})
process.once('SIGTERM', () => { process.exit() })
