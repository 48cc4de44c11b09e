import { nearest } from '../schemas/nearest.js'

/** Names that other programs use, too; what begins like them is not always meant for us. */
const sharedPrefix = /^(KAFKA|REDIS|SCHEMA_REGISTRY)_/

/** What Kubernetes and Docker set for a service that is called `ledgerline`, or `ledgerline-...`. */
const serviceLink = /_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/

/** How many letters may differ. */
export const lettersMax = 2

export interface Misspelt {
  readonly name: string
  /** The variable that was probably meant; undefined where none is near. */
  readonly meant: string | undefined
}

/**
 * The variables that look as if they were for us and are none of `known`: they would do nothing, and say nothing.
 *
 * @param all what else is set: what was meant and is set as well leaves the other one to somebody else
 */
export function allMisspelt (
  env: Readonly<Record<string, string | undefined>>, known: readonly string[], all = env
): Misspelt[] {
  return Object.entries(env).flatMap(([name, value]) => {
    const upper = name.toUpperCase()
    if (known.includes(name) || !value) return []
    const isOurs = upper.startsWith('LEDGERLINE_')
    if (isOurs ? isServiceLink(name, value) : !sharedPrefix.test(upper)) return []
    const meant = nearest(name, known, lettersMax)
    return isOurs || (meant !== undefined && !all[meant]) ? [{ name, meant }] : []
  })
}

function isServiceLink (name: string, value: string): boolean {
  return serviceLink.test(name) || (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value))
}
