import type { Cluster } from './cluster.js'
import { NotSetUp } from './no-answer.js'
import { heartbeat, KafkaError } from './wire.js'

const questionMs = 3_000
const groupDenied = 30

/**
 * Whether this user may be a member of the group: one that may not would wait for its partitions for ever. Asked by the
 * heartbeat of a member that there is not, which is refused for want of access before anything else.
 *
 * @throws NotSetUp where it may not; where nobody answers, the membership tells of it
 */
export async function checkGroup (cluster: Cluster, groupId: string): Promise<void> {
  try {
    const connection = await cluster.connection(await cluster.coordinatorOf(groupId), 'questions')
    const nobody = { groupId, groupGenerationId: -1, memberId: 'nobody' }
    const { errorCode } = await connection.send(heartbeat, nobody, questionMs)
    if (errorCode === groupDenied) throw denied(groupId)
  } catch (err) {
    if (err instanceof NotSetUp) throw err
    if (err instanceof KafkaError && err.code === groupDenied) throw denied(groupId)
  }
}

function denied (groupId: string): NotSetUp {
  const prefix = groupId.split('.').slice(0, -2).map(part => `${part}.`).join('') // GROUP.STREAM comes after it
  return new NotSetUp(`Kafka group ${groupId}: this user may not be a member: ` +
    `grant READ on groups ${prefix}* (docs/operations.md, Managed Kafka and Redis)`)
}
