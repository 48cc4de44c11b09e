import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../schemas/errors.js'
import type { Role } from '../config.js'
import { HttpError } from './errors.js'

/**
 * Tells a wrong method from a wrong path where no route fits. Goes before the routes. Fastify's handler of what is not
 * found would look at the body first, and say what is wrong with that.
 */
export function answerStrangePaths (app: FastifyInstance): void {
  const paths = new Map<string, { readonly pattern: RegExp, readonly methods: Set<string> }>()

  app.addHook('onRoute', ({ url, method }) => {
    let path = paths.get(url)
    if (!path) paths.set(url, path = { pattern: patternOf(url), methods: new Set() })
    for (const each of [method].flat()) path.methods.add(each)
  })

  app.addHook('onRequest', async ({ is404, method, url }) => {
    if (!is404) return
    const path = url.split('?', 1)[0]!
    const methods = [...paths.values()].flatMap(each => each.pattern.test(path) ? [...each.methods] : [])
    throw methods.length === 0 ? noPath(method, path) : wrongMethod(method, methods)
  })
}

function patternOf (url: string): RegExp {
  return new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`)
}

function noPath (method: string, path: string): GatewayError {
  return new GatewayError('not-found', `there is no ${method} ${path}`)
}

function wrongMethod (method: string, methods: readonly string[]): GatewayError {
  const allow = methods.toSorted().join(', ')
  return new HttpError(405, 'method-not-allowed', `there is no ${method} here; want ${allow}`, { allow })
}

/** For routes of a role that this node lacks: they are there, and say so. */
export function refuseForRole (scope: FastifyInstance, role: Role): void {
  scope.addHook('onRoute', route => { route.schema = { hide: true } })
  scope.addHook('onRequest', async () => {
    throw new GatewayError('not-found', `this node lacks the role ${role}: ask one that has it`)
  })
}
