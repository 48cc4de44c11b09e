import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkWire } from '../../ledger/kafka/wire-check.js'

const run = promisify(execFile)
const home = fileURLToPath(new URL('../../..', import.meta.url))
const log = new URL('../../ledger/kafka/open.js', import.meta.url)

/** What a process says that opens a log, where `change` was done to kafkajs before; `load` is its require. */
async function openedWith (t: Test, change: string): Promise<string> {
  const directory = t.testdir({
    'change.cjs': `
      const load = require('node:module').createRequire(${JSON.stringify(join(home, 'package.json'))})
      ${change}`,
  })
  const code = `
    const open = ({ openKafkaLog }) =>
      openKafkaLog({ brokers: ['nowhere'], topicPrefix: 'test', clientId: 'test', streams: [], failed () {} })
    import('${log.href}').then(open).catch(err => console.log(err.message))`
  const { stdout } = await run(process.execPath, ['--require', join(directory, 'change.cjs'), '--eval', code])
  return stdout.trim()
}

t.test('what is used of kafkajs', async t => {
  await t.test('is what we know of it', async t => {
    await checkWire()
    const { dependencies } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
    t.match(dependencies.kafkajs, /^\d+\.\d+\.\d+$/, 'and pinned')
    t.equal(await openedWith(t, ''), 'Kafka broker: got "nowhere", want HOST:PORT', 'past the check')
  })

  const changes: ReadonlyArray<readonly [title: string, change: string, told: RegExp]> = [
    ['lacks a file', `
      require('node:module')._load = (load => function (name, ...rest) {
        if (name.endsWith('assignerProtocol')) throw new Error('not there')
        return load.call(this, name, ...rest)
      })(require('node:module')._load)`,
    /^kafkajs [\d.]+: it has no src\/consumer\/assignerProtocol\. Install the one .* names: npm ci$/],
    ['lacks a request', "delete load('kafkajs/src/protocol/requests').requests.JoinGroup",
      /^kafkajs [\d.]+: it does not make version 5 of JoinGroup \(.*\)\./],
    ['lacks the version of a request', `
      load('kafkajs/src/protocol/requests').requests.OffsetFetch.protocol = () => undefined`,
    /: it does not make version 4 of OffsetFetch /],
    ['makes another version of a request', `
      const { Heartbeat } = load('kafkajs/src/protocol/requests').requests
      Heartbeat.protocol = (protocol => () => protocol({ version: 2 }))(Heartbeat.protocol)`,
    /: it does not make version 3 of Heartbeat \(got version 2 of request 12\)/],
    ['writes a request in other bytes', `
      load('kafkajs/src/protocol/encoder').prototype.writeBoolean = function () { return this.writeInt16(1) }`,
    /: its codec of a request, version 3 of CreateTopics is another one: got "\w+", want "\w+"\./],
    ['reads an answer into other fields', `
      const answer = load('kafkajs/src/protocol/requests/syncGroup/v3/response')
      const { decode } = answer
      answer.decode = async bytes => ({ ...await decode(bytes), memberAssignment: undefined })`,
    /: its codec of an answer, version 3 of SyncGroup is another one: got \{"errorCode":27\}, want /],
    ['fails at an answer', `
      const answer = load('kafkajs/src/protocol/requests/offsetCommit/v5/response')
      answer.decode = async () => { throw new TypeError('no') }`,
    /: its codec of an answer, version 5 of OffsetCommit is another one: got no, want /],
  ]
  for (const [title, change, told] of changes) {
    await t.test(`is told of in words, before anything is sent, where it ${title}`, async t => {
      t.match(await openedWith(t, change), told)
    })
  }
})
