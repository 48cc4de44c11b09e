import { createRequire } from 'node:module'

type Compile = (route: { readonly schema: object }) => unknown
type Build = (shared: object, options: object | undefined) => Compile

/** What fastify has validators and serializers made by. */
const compilers = ['@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler']

/**
 * Has what the schemas of HTTP routes are compiled to made once in this process, and not by each node at each of its
 * starts: it is the same, and most of what a start costs.
 */
export function compileRoutesOnce (): void {
  const require = createRequire(createRequire(import.meta.url).resolve('fastify'))
  for (const name of compilers) {
    const path = require.resolve(name)
    const build = (require(path) as () => Build)()
    const builds = remembered((shared: object, options: object | undefined) => remembered(build(shared, options)))
    require.cache[path]!.exports = () => builds
  }
}

/** With what it has returned for the same arguments, as JSON has them. */
function remembered<A extends unknown[], R> (make: (...args: A) => R): (...args: A) => R {
  const made = new Map<string, R>()
  return (...args) => {
    const key = JSON.stringify(args)
    let found = made.get(key)
    if (found === undefined) made.set(key, found = make(...args))
    return found
  }
}
