import { GatewayError } from '../../schemas/errors.js'
import type { Stream } from '../../schemas/streams.js'
import type { GroupPlaces, Place } from '../log.js'
import { assignmentOf } from './claims.js'
import type { Cluster } from './cluster.js'
import { parseBeside } from './places.js'
import { check, deleteGroups, describeGroups, KafkaError, listGroups, offsetFetch } from './wire.js'

const questionMs = 3_000
const notEmpty = 68
const noSuchGroup = 69

/** What the consumer groups of this system have committed. A group of a stream is PREFIX.GROUP.STREAM in Kafka. */
export function kafkaGroupPlaces (cluster: Cluster, prefix: string): GroupPlaces {
  const idOf = (stream: Stream<any>, group: string) => `${prefix}.${group}.${stream.name}`

  async function askCoordinator<T> (groupId: string, ask: (node: number) => Promise<T>): Promise<T> {
    try {
      return await ask(await cluster.coordinatorOf(groupId))
    } catch (cause) {
      if (cause instanceof GatewayError) throw cause
      throw new GatewayError('ledger-unavailable', `Kafka group ${groupId}: ${(cause as Error).message}`, { cause })
    }
  }

  async function describe (stream: Stream<any>, group: string) {
    const groupId = idOf(stream, group)
    return await askCoordinator(groupId, async node => {
      const connection = await cluster.connection(node, 'questions')
      const { groups: [found] } = await connection.send(describeGroups, { groupIds: [groupId] }, questionMs)
      if (found) check(found, 'DescribeGroups')
      return found
    })
  }

  return {
    async list (streams) {
      const ids = (await Promise.all(cluster.nodeIds.map(async node => {
        const connection = await cluster.connection(node, 'questions')
        const answer = await connection.send(listGroups, {}, questionMs)
        check(answer, 'ListGroups')
        return answer.groups.map(({ groupId }) => groupId)
      })).catch((cause: Error) => {
        throw new GatewayError('ledger-unavailable', `the groups of Kafka are not known: ${cause.message}`, { cause })
      })).flat()
      return streams.flatMap(({ name: stream }) => ids
        .filter(id => id.startsWith(`${prefix}.`) && id.endsWith(`.${stream}`))
        .map(id => ({ stream, group: id.slice(prefix.length + 1, -stream.length - 1) })))
    },

    async of (stream, group) {
      const groupId = idOf(stream, group)
      const topic = `${prefix}.${stream.name}`
      const partitions = Array.from({ length: cluster.partitions(topic) }, (_, partition) => ({ partition }))
      return await askCoordinator(groupId, async node => {
        const connection = await cluster.connection(node, 'questions')
        const answer = await connection.send(offsetFetch, { groupId, topics: [{ topic, partitions }] }, questionMs)
        check(answer, 'OffsetFetch')
        const places = new Map<number, Place>()
        for (const { partition, offset, metadata } of answer.responses.flatMap(({ partitions }) => partitions)) {
          if (BigInt(offset) >= 0n) places.set(partition, { next: BigInt(offset), index: parseBeside(metadata).index })
        }
        return places
      })
    },

    async hasMembers (stream, group) {
      const found = await describe(stream, group)
      return found !== undefined && found.state !== 'Empty' && found.state !== 'Dead' // `Dead`: there is no such group
    },

    async members (stream, group) {
      const topic = `${prefix}.${stream.name}`
      const { members = [] } = await describe(stream, group) ?? {}
      return members.map(({ clientId, memberAssignment }) =>
        ({ clientId, partitions: assignmentOf(memberAssignment, topic).partitions }))
    },

    async forget (stream, group) {
      const groupId = idOf(stream, group)
      await askCoordinator(groupId, async node => {
        const connection = await cluster.connection(node, 'questions')
        const { results } = await connection.send(deleteGroups, [groupId], questionMs)
        const { errorCode } = results[0] ?? { errorCode: noSuchGroup }
        if (errorCode === notEmpty) throw new GatewayError('has-readers')
        if (errorCode !== 0 && errorCode !== noSuchGroup) throw new KafkaError(errorCode, 'DeleteGroups')
      })
    },
  }
}
