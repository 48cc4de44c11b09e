/* A collector of OpenTelemetry that takes all, and keeps nothing. Ends with SIGTERM. */
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  request.resume().on('end', () => { response.writeHead(200, { 'content-type': 'application/json' }).end('{}') })
})
server.listen(0, '127.0.0.1', () => { console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })) })
