import type { LoadHook } from 'node:module'
import type { Mutation } from './mutations.js'

let mutation: Mutation

export function initialize (given: Mutation): void { mutation = given }

/** Gives one module another text than its file has. */
export const load: LoadHook = async (url, context, next) => {
  const loaded = await next(url, context)
  if (!url.endsWith(`/${mutation.file}`)) return loaded
  const text = String(loaded.source)
  const { file, from, to } = mutation
  const parts = text.split(from)
  if (parts.length === 2) return { ...loaded, source: parts.join(to) }
  throw new Error(`${file} has "${from}" ${parts.length - 1} times, want it once: the mutation is out of date`)
}
