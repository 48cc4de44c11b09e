import type { LoadHook } from 'node:module'
import type { Mutation } from './mutations.js'

let mutation: Mutation

export function initialize (given: Mutation): void { mutation = given }

/** Gives modules another text than their files have. */
export const load: LoadHook = async (url, context, next) => {
  const loaded = await next(url, context)
  const { file, also } = mutation
  const changes = [mutation, ...also ? [{ file, ...also }] : []].filter(change => url.endsWith(`/${change.file}`))
  if (changes.length === 0) return loaded
  const source = changes.reduce((text, { file, from, to }) => {
    const parts = text.split(from)
    if (parts.length === 2) return parts.join(to)
    throw new Error(`${file} has "${from}" ${parts.length - 1} times, want it once: the mutation is out of date`)
  }, String(loaded.source))
  return { ...loaded, source }
}
