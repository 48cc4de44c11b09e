import t from 'tap'
import { openKafkaLog } from '../../ledger/kafka/open.js'
import { kafkaMissing, startKafka } from '../cluster/kafka.js'
import { changelogContract } from './changelog-contract.js'
import { noteStream } from './log-contract.js'

t.test('a changelog in Kafka', { skip: kafkaMissing() ?? false }, async t => {
  const { brokers } = await startKafka(t)
  let names = 0

  await changelogContract(t, {
    async open (t) {
      const stream = noteStream()
      const name = `kept${++names}`
      const log = await openKafkaLog({
        brokers,
        topicPrefix: 'test',
        clientId: 'one',
        streams: [{ stream, partitions: 2 }],
        changelogs: [{ name, like: stream }],
        failed: (what, err, fields) => t.comment(what, err.message, fields),
      })
      t.teardown(() => log.close())
      return log.changelog(name)
    },
  })
})
