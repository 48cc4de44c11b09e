/**
 * What an address counts for where clients are counted by address: IPv4 for itself, also in an IPv6 coat
 * (`::ffff:192.0.2.1`); IPv6 for its /64, for any customer has that many addresses.
 *
 * @param ip as Node writes it; anything else counts for itself
 */
export function networkOf (ip: string): string {
  if (!ip.includes(':')) return ip
  const groups = groupsOf(ip.split('%')[0]!)
  if (groups.length !== 8) return ip
  if (groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff) {
    const [high, low] = groups.slice(6) as [number, number]
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
  }
  return `${groups.slice(0, 4).map(group => group.toString(16)).join(':')}::/64`
}

/** The eight 16-bit groups of an IPv6 address. */
function groupsOf (ip: string): number[] {
  const [head, tail] = ip.split('::') as [string, string | undefined]
  const before = numbersOf(head)
  if (tail === undefined) return before
  const after = numbersOf(tail)
  return [...before, ...Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => 0), ...after]
}

function numbersOf (part: string): number[] {
  if (part === '') return []
  return part.split(':').flatMap(group => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a, b, c, d] = group.split('.').map(Number) as [number, number, number, number]
    return [a << 8 | b, c << 8 | d]
  })
}
