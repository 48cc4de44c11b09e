import helmet from '@fastify/helmet'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GatewayError } from '../../schemas/errors.js'

/** What console/build.js has made: index.html, and in `assets` what it names. */
export const pagesFolder = fileURLToPath(new URL('../../console/pages', import.meta.url))

/** Nothing from elsewhere, nothing inline, in nobody's frame. Charts set styles through the DOM, which is allowed. */
const contentSecurityPolicy = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
}

/** The pages of the console. Names of assets have a digest of what is in them, so browsers keep them for good. */
export async function consolePages (app: FastifyInstance, folder = pagesFolder): Promise<void> {
  // How long browsers shall want TLS for is said for all answers (http/browsers.ts).
  await app.register(helmet, { contentSecurityPolicy, strictTransportSecurity: false })
  const path = join(folder, 'index.html')
  const page = existsSync(path) ? readFileSync(path) : undefined
  app.get('/console', async (_request, reply) => {
    if (page === undefined) throw new GatewayError('not-found', 'the console is not built: npm run build:console')
    return await reply.type('text/html; charset=utf-8').header('cache-control', 'no-cache').send(page)
  })
  if (page === undefined) return
  await app.register(fastifyStatic, {
    root: join(folder, 'assets'),
    prefix: '/console/assets/',
    wildcard: false, // a route for each file: all else is answered as any path that is not there
    index: false,
    decorateReply: false,
    immutable: true,
    maxAge: '365d',
  })
}
