import { createServer } from 'node:http'

const answer = Buffer.from('{"ok":true}')

/**
 * A small HTTP listener on a free loopback port beside a server's own one, for what a business service would do there:
 * `POST path` calls `handlers[path](body)`.
 *
 * @param {Record<string, (body: Buffer) => void>} handlers
 * @returns {Promise<number>} its port
 */
export function listenForControl (handlers) {
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const chunks = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const handler = handlers[request.url]
      if (!handler) return response.writeHead(404, { 'content-length': 0 }).end()
      handler(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))
      response.writeHead(202, { 'content-type': 'application/json', 'content-length': answer.length }).end(answer)
    })
  })
  return listen(server)
}

/** @returns {Promise<number>} the loopback port that `server` now listens on, with a backlog for connection storms */
export function listen (server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => resolve(server.address().port))
  })
}

/** Tells the parent where this server listens; it ends with the parent's stop signal. */
export function ready (addresses) {
  console.log(JSON.stringify({ msg: 'ready', pid: process.pid, ...addresses }))
  process.on('SIGTERM', () => process.exit(0))
}
