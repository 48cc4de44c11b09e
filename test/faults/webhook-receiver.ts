import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { verify } from '../../service/webhooks.js'

/* A service of its own process, that may be killed: it has what it has written to its file, and answers behind that. */

const [file = '', port = '0', secret = ''] = process.argv.slice(2)

createServer(async (request, response) => {
  const events = verify(request.headers, await buffer(request), secret)
  appendFileSync(file, events.map(({ id, data: { userId, userSeq } }) => `${JSON.stringify({ id, userId, userSeq })}\n`).join(''))
  response.writeHead(204).end()
}).listen(Number(port), '127.0.0.1', () => { process.stdout.write('ready\n') })
