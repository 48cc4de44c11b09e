import { assign, type Claim } from './assignment.js'
import { memberAssignment, memberMetadata } from './wire.js'

/* What members tell their group when they join, and what its leader tells them: the bytes that Kafka carries for us. */

/** @param generation in which the member has been given what it owns; -1 for none */
export function claimOf (topic: string, partitions: readonly number[], generation: number): Buffer {
  return memberMetadata.encode({
    version: 1, topics: [topic], userData: Buffer.from(JSON.stringify({ partitions, generation })),
  })
}

/** Shares out the partitions of a topic, by the leader of the group alone. */
export function share (
  members: ReadonlyArray<{ readonly memberId: string, readonly memberMetadata: Buffer }>, topic: string, count: number
): Array<{ memberId: string, memberAssignment: Buffer }> {
  const claims = members.map(({ memberId, memberMetadata: bytes }): Claim => ({ memberId, ...claimIn(bytes) }))
  const { partitions, complete } = assign(claims, count)
  return [...partitions].map(([memberId, given]) => ({
    memberId,
    memberAssignment: memberAssignment.encode({
      version: 1, assignment: { [topic]: given }, userData: Buffer.from([complete ? 1 : 0]),
    }),
  }))
}

/** `complete`: no partition of the group is on its way from one member to another. */
export function assignmentOf (bytes: Buffer, topic: string): { partitions: readonly number[], complete: boolean } {
  const decoded = memberAssignment.decode(bytes)
  return { partitions: decoded?.assignment[topic] ?? [], complete: decoded?.userData?.[0] === 1 }
}

function claimIn (bytes: Buffer): Omit<Claim, 'memberId'> {
  const { userData } = memberMetadata.decode(bytes)
  return userData && userData.length > 0 ? JSON.parse(userData.toString()) : { partitions: [], generation: -1 }
}
