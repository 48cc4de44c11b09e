import { nearest } from '../schemas/nearest.js'

/** Names that other programs use, too; what begins like them is not always meant for us. */
const sharedPrefix = /^(KAFKA|REDIS|SCHEMA_REGISTRY)_/

/** What Kubernetes and Docker set for a service that is called `ledgerline`, or `ledgerline-...`. */
const serviceLink = /_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/

/** How many letters may differ. */
const lettersMax = 2

/**
 * The first variable that looks as if it were for us and is none of `known`: it would do nothing, and say nothing.
 *
 * @returns its name, and the one that was probably meant; undefined where there is none
 */
export function findMisspelt (
  env: Readonly<Record<string, string | undefined>>, known: readonly string[]
): { readonly name: string, readonly meant: string | undefined } | undefined {
  for (const [name, value] of Object.entries(env)) {
    const upper = name.toUpperCase()
    if (known.includes(name) || !value) continue
    const isOurs = upper.startsWith('LEDGERLINE_')
    if (isOurs ? isServiceLink(name, value) : !sharedPrefix.test(upper)) continue
    const meant = nearest(name, known, lettersMax)
    // Both set: the other one is somebody else's.
    if (isOurs || (meant !== undefined && !env[meant])) return { name, meant }
  }
  return undefined
}

function isServiceLink (name: string, value: string): boolean {
  return serviceLink.test(name) || (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value))
}
