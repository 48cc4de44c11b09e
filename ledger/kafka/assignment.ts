/** What a member of a group says when it joins. */
export interface Claim {
  readonly memberId: string
  /** What it has, or is giving back. */
  readonly partitions: readonly number[]
  /** The generation that it got them in, or kept them through. */
  readonly generation: number
}

export interface Assignment {
  readonly partitions: Map<string, number[]>
  /** Nothing is withheld: no further round is needed. */
  readonly complete: boolean
}

/**
 * Shares `count` partitions among the members, to within one each and moving as few as possible.
 *
 * A partition that has to move is given to nobody in this round: its member gives it back, joins again without it, and
 * the next round gives it away. So no two members have it at once, which a group of Kafka does not ensure by itself.
 */
export function assign (claims: readonly Claim[], count: number): Assignment {
  const members = [...claims].sort((a, b) => a.memberId < b.memberId ? -1 : 1)
  const owners = ownersOf(members, count)
  const owned = new Map(members.map(({ memberId }) => [memberId, [] as number[]]))
  for (const [partition, memberId] of owners) owned.get(memberId)!.push(partition)
  const quotas = quotasOf(members, owned, count)
  const partitions = new Map(members.map(({ memberId }) =>
    [memberId, owned.get(memberId)!.sort(ascending).slice(0, quotas.get(memberId))]))
  let complete = true
  for (const [memberId, all] of owned) if (all.length > quotas.get(memberId)!) complete = false
  const free = Array.from({ length: count }, (_, partition) => partition).filter(partition => !owners.has(partition))
  for (const partition of free) {
    const neediest = members.find(({ memberId }) => partitions.get(memberId)!.length < quotas.get(memberId)!)!
    partitions.get(neediest.memberId)!.push(partition)
  }
  return { partitions, complete }
}

/** Of two that claim the same, the one of the later generation has it: the other one was away when it was moved. */
function ownersOf (members: readonly Claim[], count: number): Map<number, string> {
  const owners = new Map<number, { memberId: string, generation: number }>()
  for (const { memberId, partitions, generation } of members) {
    for (const partition of partitions) {
      const other = owners.get(partition)
      if (partition >= count || (other && other.generation >= generation)) continue
      owners.set(partition, { memberId, generation })
    }
  }
  return new Map([...owners].map(([partition, { memberId }]) => [partition, memberId]))
}

/** Who has most keeps one more where the count does not divide. */
function quotasOf (members: readonly Claim[], owned: Map<string, number[]>, count: number): Map<string, number> {
  const base = Math.floor(count / members.length)
  const more = count % members.length
  const byOwned = [...members].sort((a, b) => owned.get(b.memberId)!.length - owned.get(a.memberId)!.length)
  return new Map(byOwned.map(({ memberId }, i) => [memberId, base + (i < more ? 1 : 0)]))
}

function ascending (a: number, b: number): number { return a - b }
