/*
  A chat on Ledgerline alone: starts a gateway, and a small web server for the page. What a chat needs of a back end of
  its own is in this file: it signs people in, and asks the gateway for what a page may see.

    npm run example:chat          then open http://localhost:8090 in two windows
*/
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import { SignJWT } from 'jose'

const root = new URL('../../', import.meta.url)
const pagePort = Number(process.env.CHAT_PORT ?? 8090)
const gatewayPort = Number(process.env.CHAT_GATEWAY_PORT ?? 8091)
const gatewayUrl = `http://127.0.0.1:${gatewayPort}`

/** Made anew at each start: people sign in again, and what was written is in the data directory. */
const jwtSecret = randomBytes(32).toString('hex')
const apiKey = randomBytes(16).toString('hex')

/** A page shows so many of the last posts. */
const historyMax = 200
const restartMs = 1_000

let gateway
let isStopping = false

/** Starts the gateway, and again whenever it ends: the button "kill -9" of the page ends it. */
function startGateway () {
  gateway = spawn(process.execPath, [fileURLToPath(new URL('dist/cli/ledgerline.js', root)), 'start'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      LEDGERLINE_DATA: process.env.CHAT_DATA ?? fileURLToPath(new URL('data', import.meta.url)),
      LEDGERLINE_HOST: '127.0.0.1',
      LEDGERLINE_HTTP_PORT: String(gatewayPort),
      LEDGERLINE_TCP_PORT: '0',
      LEDGERLINE_JWT_SECRET: jwtSecret,
      LEDGERLINE_API_KEYS: apiKey,
    },
  })
  gateway.once('exit', () => {
    if (isStopping) return
    console.log(`The gateway is gone; it starts again in ${restartMs / 1000} s.`)
    setTimeout(startGateway, restartMs)
  })
}

const files = {
  '/': ['text/html', new URL('page/index.html', import.meta.url)],
  '/chat.js': ['text/javascript', new URL('page/chat.js', import.meta.url)],
  '/chat.css': ['text/css', new URL('page/chat.css', import.meta.url)],
  '/ledgerline-client.min.js': ['text/javascript', new URL('dist/packages/client/ledgerline-client.min.js', root)],
}

const app = Fastify()
for (const [path, [type, file]] of Object.entries(files)) {
  app.get(path, async (_request, reply) => reply.type(`${type}; charset=utf-8`).send(await readFile(file)))
}

/** A chat would look at a password here. This one believes whoever comes, and lets everybody into every room. */
app.get('/session', {
  schema: {
    querystring: {
      type: 'object', required: ['name'], properties: { name: { type: 'string', minLength: 1, maxLength: 40 } },
    },
  },
}, async ({ query: { name } }) => ({
  token: await new SignJWT({ rooms: { 'chat:*': 'rw' } })
    .setProtectedHeader({ alg: 'HS256' }).setSubject(name).setIssuedAt().setExpirationTime('1h')
    .sign(new TextEncoder().encode(jwtSecret)),
  ipConfig: `http://${process.env.CHAT_GATEWAY_HOST ?? 'localhost'}:${gatewayPort}/v1/ip-config`,
}))

/** What was posted last, and who is there: a page has no key to the gateway's API, and this server has. */
app.get('/rooms/:room/posts', async ({ params: { room } }) => {
  const path = `/v1/rooms/${encodeURIComponent(room)}`
  const { roomSeq } = JSON.parse(await ask(path))
  const lines = await ask(`${path}/posts?after=${Math.max(0, roomSeq - historyMax)}`)
  return { posts: lines.split('\n').filter(line => line !== '').map(line => JSON.parse(line)) }
})
app.get('/rooms/:room/members', async ({ params: { room } }) =>
  JSON.parse(await ask(`/v1/rooms/${encodeURIComponent(room)}/members`)))

app.post('/kill', async (_request, reply) => {
  gateway.kill('SIGKILL')
  return reply.code(204).send()
})

/** Of the gateway's API: the text of its answer. */
async function ask (path) {
  const response = await fetch(`${gatewayUrl}${path}`, { headers: { authorization: `Bearer ${apiKey}` } })
  if (response.ok) return await response.text()
  throw Object.assign(new Error(`the gateway answered ${response.status}`), { statusCode: response.status })
}

startGateway()
await app.listen({ host: '127.0.0.1', port: pagePort })
console.log(`Open http://localhost:${pagePort} in two windows.`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    isStopping = true
    gateway.once('exit', () => process.exit(0))
    gateway.kill('SIGTERM')
    app.close()
  })
}
