/** Names that other programs use, too; what begins like them is not always meant for us. */
const sharedPrefix = /^(KAFKA|REDIS|SCHEMA_REGISTRY)_/

/** What Kubernetes and Docker set for a service that is called `ledgerline`, or `ledgerline-...`. */
const serviceLink = /_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/

/** How many letters may differ. */
const distanceMax = 2

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
    const meant = nearest(upper, known)
    // Both set: the other one is somebody else's.
    if (isOurs || (meant !== undefined && !env[meant])) return { name, meant }
  }
  return undefined
}

function isServiceLink (name: string, value: string): boolean {
  return serviceLink.test(name) || (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value))
}

function nearest (name: string, known: readonly string[]): string | undefined {
  const [best] = known.map(each => ({ each, distance: distanceOf(name, each) })).sort((a, b) => a.distance - b.distance)
  return best !== undefined && best.distance <= distanceMax ? best.each : undefined
}

/** Letters to insert, delete, replace or swap with their neighbour (Damerau's distance, each place edited once). */
function distanceOf (a: string, b: string): number {
  let [before, last] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) row[j] = Math.min(row[j]!, before[j - 2]! + 1)
    }
    before = last
    last = row
  }
  return last[b.length]!
}
