import type { Cluster } from './cluster.js'
import { offsetForLeaderEpoch } from './leader-apis.js'
import { offsetOf } from './offsets.js'
import { check } from './wire.js'

/*
  A leader that was elected although it did not have all (unclean.leader.election.enable) makes its log the truth: what
  was read of the old one behind it never was, and other records get the same offsets. By offsets nobody can tell. So
  whoever reads keeps the epoch of the leader under which what it read last was written, and asks a new leader how far
  its log goes that has this epoch (KIP-320): logs that have one epoch are the same up to there.
*/

/** All before `next` was read, the last of it written under the leader of `epoch` or an earlier one; -1: not known. */
export interface Place { readonly next: bigint, readonly epoch: number }

/** Where a leader's log ends to be the one that was read. */
export interface Parting { readonly at: bigint, readonly epoch: number }

const questionMs = 3_000

/**
 * Asks the leader, which is `node`, whether it has what was read up to `place`.
 *
 * @returns undefined where it has, or nobody can know
 * @throws NoAnswer or KafkaError
 */
export async function partingOf (
  cluster: Cluster, node: number, topic: string, partition: number, place: Place
): Promise<Parting | undefined> {
  const leaderEpoch = cluster.leaderEpochOf(topic, partition)
  if (place.epoch < 0 || leaderEpoch < 0) return undefined
  const connection = await cluster.connection(node, 'questions')
  const question = { topic, partition, leaderEpoch, epoch: place.epoch }
  const answer = await connection.send(offsetForLeaderEpoch, question, questionMs)
  check(answer, `end of epoch ${place.epoch} of ${topic}/${partition}`)
  // A leader knows of its own epoch, so of every earlier one: this is the log of another topic, of the same name.
  if (answer.epoch < 0) return { at: 0n, epoch: -1 }
  return answer.end < place.next ? { at: answer.end, epoch: answer.epoch } : undefined
}

/** Where the leader's log, which has no such offset yet, is not the one that was read. */
export async function partingAt (
  cluster: Cluster, node: number, topic: string, partition: number, place: Place
): Promise<Parting | undefined> {
  const parting = await partingOf(cluster, node, topic, partition, place)
  if (parting) return parting
  const end = await offsetOf(cluster, node, topic, partition, 'next')
  return end < place.next ? { at: end, epoch: -1 } : undefined
}

/** @param next what was read ends there; undefined where that is not known */
export function cutBack (topic: string, partition: number, next: bigint | undefined, at: bigint): string {
  const upTo = next === undefined ? 'on' : `to ${next - 1n}`
  return `${topic}/${partition} was cut back: what was read from offset ${at} ${upTo} is gone, ` +
    'and other entries take its place (an election of a leader that did not have it, or a topic that was created anew)'
}

/**
 * What the group keeps beside the offset that was committed: how far it has come, and how many items of the block there
 * are done.
 */
export function formatBeside (place: Place | undefined, index: number): string {
  return `${place ? `${place.next}@${place.epoch}` : ''}${index === 0 ? '' : `.${index}`}`
}

/** Neither for what another build, or somebody else, has written there. */
export function parseBeside (text: string | null): { place: Place | undefined, index: number } {
  const [, next, epoch, index = '0'] = /^(?:(\d{1,18})@(\d{1,9}))?(?:\.(\d{1,9}))?$/.exec(text ?? '') ?? []
  const place = next === undefined ? undefined : { next: BigInt(next), epoch: Number(epoch) }
  return { place, index: Number(index) }
}
