import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../../ledger/kafka/cluster.js'
import type { KafkaLog } from '../../ledger/kafka/log.js'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { Membership } from '../../ledger/kafka/membership.js'
import { KafkaError } from '../../ledger/kafka/wire.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { lastingConditions } from '../lasting.js'
import { collector, note, noteStream, until } from './log-contract.js'

t.setTimeout(450_000)

const stream = noteStream()

/** One process of a group, with what its followers were told. */
class Node {
  readonly follower = collector()
  private constructor (readonly log: KafkaLog, readonly lasting: ReadonlyMap<string, string>) {}

  static async start (
    t: Test, brokers: readonly string[], topicPrefix: string, groupInstanceId?: string,
    sessionTimeoutMs = 45_000 // longer than a restart takes on a busy machine
  ): Promise<Node> {
    const { lasting, health } = lastingConditions()
    const log = await openKafkaLog({
      brokers,
      topicPrefix,
      clientId: 'test',
      streams: [{ stream, partitions: 4 }],
      sessionTimeoutMs,
      slowMs: 500,
      groupInstanceId,
      health,
      failed: (what, err) => { t.comment(what, err.message) },
    })
    t.teardown(() => log.close())
    const node = new Node(log, lasting)
    await log.follow(stream, 'group', node.follower)
    return node
  }

  get partitions (): number[] { return this.log.lag('group').map(({ partition }) => partition).sort() }
}

t.test('a member of a group', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)

  await t.test('that is known by its instance id has its partitions again after a restart, and nobody else is asked', async t => {
    const staying = await Node.start(t, brokers, 'back', 'one')
    const restarted = await Node.start(t, brokers, 'back', 'two')
    await until(() => staying.partitions.length === 2)
    const before = restarted.partitions
    const events = [...staying.follower.events]
    await restarted.log.close()
    await staying.log.append(stream, before[0]!, [note('meanwhile')])
    const back = await Node.start(t, brokers, 'back', 'two')
    t.strictSame(back.partitions, before)
    await until(() => back.follower.texts().includes('meanwhile'))
    t.strictSame(staying.follower.events, events, 'the other one has given nothing back, and got nothing')
    t.strictSame(staying.follower.texts(), [])
  })

  await t.test('whose instance id another one has come under stays away, says so, and comes back when that one is gone', async t => {
    const first = await Node.start(t, brokers, 'twice', 'same', 15_000)
    t.strictSame(first.partitions, [0, 1, 2, 3])
    const second = await Node.start(t, brokers, 'twice', 'same', 15_000)
    await until(() => first.lasting.size > 0 && first.partitions.length === 0)
    const name = `twice.group.${stream.name}`
    t.match([...first.lasting], [[
      `refused ${name}`, /FENCED_INSTANCE_ID: another process .* KAFKA_GROUP_INSTANCE_ID.*when the other one is gone/,
    ]])
    t.match(first.log.health(), { ok: false, reason: /FENCED_INSTANCE_ID/ })
    t.strictSame(second.partitions, [0, 1, 2, 3])
    await second.log.append(stream, 3, [note('a')])
    await until(() => second.follower.texts().length === 1)
    await sleep(1_000) // for one that would join again
    t.ok(second.log.health().ok)
    t.strictSame(second.partitions, [0, 1, 2, 3], 'and nothing is taken from the other one')
    t.strictSame(first.follower.texts(), [])

    await second.log.close()
    await until(() => first.partitions.length === 4, 120_000)
    await until(() => first.lasting.size === 0)
    t.strictSame(first.partitions, [0, 1, 2, 3])
    await until(() => first.log.health().ok)
    await first.log.append(stream, 2, [note('b')])
    await until(() => first.follower.texts().includes('b'))
  })

  await t.test('without one leaves what it had to the others when it stops', async t => {
    const staying = await Node.start(t, brokers, 'left')
    const leaving = await Node.start(t, brokers, 'left')
    await until(() => staying.partitions.length === 2)
    await leaving.log.close()
    await until(() => staying.partitions.length === 4)
  })
})

t.test('a member that its group refuses', async t => {
  async function refused (t: Test, code: number) {
    let asked = 0
    const lasting = new Map<string, string>()
    const membership = new Membership({
      cluster: {
        coordinatorOf: async () => {
          asked++
          throw new KafkaError(code, 'coordinator of group')
        },
        look: async () => {},
        endLane: () => {},
      } as unknown as Cluster,
      groupId: 'group',
      topic: 'topic',
      sessionTimeoutMs: 1_000,
      slowMs: 60_000,
      owned: () => [],
      assigned: () => {},
      lost: async () => {},
      health: {
        begin: (name, reason) => { lasting.set(name, reason) },
        end: name => { lasting.delete(name) },
      },
      failed: () => {},
    })
    membership.start()
    t.teardown(() => membership.leave())
    await until(() => lasting.size > 0)
    return { membership, lasting, asked: () => asked }
  }

  await t.test('for good is told with what to do, and asks slowly', async t => {
    const { membership, lasting, asked } = await refused(t, 30)
    t.match([...lasting], [['refused', /^group group: .*GROUP_AUTHORIZATION_FAILED: grant READ on the group/]])
    t.match(membership.refusal, /grant READ on the group/)
    await sleep(500)
    t.equal(asked(), 1)
    await membership.leave()
    t.equal(lasting.size, 0, 'and stops at once')
  })

  await t.test('for a while asks again soon', async t => {
    const { membership, lasting, asked } = await refused(t, 15)
    t.match([...lasting], [['followers', /GROUP_COORDINATOR_NOT_AVAILABLE/]])
    t.equal(membership.refusal, '')
    await until(() => asked() >= 3)
  })
})
