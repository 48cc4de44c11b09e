import type { FastifyInstance } from 'fastify'
import type { LoadOptions } from './load-routes.js'
import { consolePages } from './pages.js'
import { sessionRoutes, type SessionRoutesOptions } from './session-routes.js'

export interface ConsoleOptions extends Omit<SessionRoutesOptions, 'wantsCertificate'>, LoadOptions {}

/** Pages of the role `console`, and signing in to them. */
export async function consoleRoutes (
  app: FastifyInstance, options: ConsoleOptions, wantsCertificate: boolean
): Promise<void> {
  sessionRoutes(app, { ...options, wantsCertificate })
  await consolePages(app)
}
