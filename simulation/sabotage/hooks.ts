import type { LoadHook } from 'node:module'
import type { Mutation } from './mutations.js'

let mutation: Mutation

export function initialize (given: Mutation): void { mutation = given }

/** Gives one module another text than its file has. */
export const load: LoadHook = async (url, context, next) => {
  const loaded = await next(url, context)
  if (!url.endsWith(`/${mutation.file}`)) return loaded
  const { file, also } = mutation
  const source = [mutation, ...also ? [also] : []].reduce((text, { from, to }) => {
    const parts = text.split(from)
    if (parts.length === 2) return parts.join(to)
    throw new Error(`${file} has "${from}" ${parts.length - 1} times, want it once: the mutation is out of date`)
  }, String(loaded.source))
  return { ...loaded, source }
}
