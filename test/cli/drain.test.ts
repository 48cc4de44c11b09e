import t, { type Test } from 'tap'
import type { DrainCommand, DrainState } from '../../gateway/drain-requests.js'
import type { ConnectionMoved } from '../../schemas/node-facts.js'
import { givenApp } from '../gateway/http/given.js'
import { run } from './given.js'

const move: ConnectionMoved = {
  userId: 'ann',
  deviceId: 'phone',
  connectionId: 'c1',
  closed: false,
  toNodeId: 'n2',
  toConnectionId: 'c2',
  afterMs: 700,
  darkMs: 0,
  uplinksLost: 0,
  downlinksLost: 0,
  rooms: 2,
}

const done: DrainState = {
  nodeId: 'n1',
  drainId: 'd1',
  state: 'done',
  percent: 100,
  withinMs: 60_000,
  startedAtMs: 1,
  total: 2,
  asked: 2,
  left: 2,
  closed: 1,
  resumed: 1,
  uplinksLost: 0,
  downlinksLost: 0,
  members: 3,
  membersResumed: 2,
  moves: [move, { ...move, connectionId: 'c3', closed: true, toNodeId: '', toConnectionId: '', afterMs: -1, darkMs: -1 }],
}

/** A gateway whose node goes through these states, one a question, and stays in the last. */
async function given (t: Test, states: readonly DrainState[]) {
  const asked: DrainCommand[] = []
  let i = 0
  const { app } = givenApp(t, {
    drain: async command => {
      asked.push(command)
      return { ...command, drainId: 'd1' }
    },
    drainState: async () => states[Math.min(i++, states.length - 1)]!,
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { asked, place: { cwd: t.testdir({ data: { 'api-key': 'key-one-of-the-tests\n' } }), env: { LEDGERLINE_URL: url } } }
}

t.test('drain', async t => {
  t.test('asks for it, waits until it is over, and tells where everybody went', async t => {
    const before = { ...done, drainId: 'd0' }
    const states = [before, { ...done, state: 'requested' as const, total: 0 }, { ...done, state: 'draining' as const }, done]
    const { asked, place } = await given(t, states)
    const { code, stdout } = await run(['drain', 'n1', '--percent', '12.5', '--within', '30s'], place)
    t.equal(code, 0)
    t.strictSame(asked, [{ nodeId: 'n1', percent: 12.5, withinMs: 30_000, by: '', reason: '' }])
    t.equal(stdout, [
      '2 of 2 connections have left n1, 1 of them closed by it',
      '1 resumed: 1 on n2',
      'after 700 ms in the middle, 700 ms at most; 0 were without a connection in between',
      '2 of 3 members of rooms are back',
      'messages lost: 0 uplinks, 0 downlinks',
      '',
    ].join('\n'))
  })

  t.test('prints the report as JSON', async t => {
    const { place } = await given(t, [done])
    const { code, stdout } = await run(['drain', 'n1', '--json'], place)
    t.equal(code, 0)
    t.strictSame(JSON.parse(stdout), done)
  })

  t.test('fails where messages were lost, or the node has gone', async t => {
    const lossy = await run(['drain', 'n1'], (await given(t, [{ ...done, downlinksLost: 3 }])).place)
    t.match(lossy, { code: 1, stdout: /3 downlinks/, stderr: /3 messages were lost/ })
    const broken = await run(['drain', 'n1'], (await given(t, [{ ...done, state: 'broken-off' }])).place)
    t.match(broken, { code: 1, stderr: /n1 has gone before its drain was over/ })
  })

  t.test('ends a drain', async t => {
    const { asked, place } = await given(t, [done])
    const { code, stdout } = await run(['drain', 'n1', '--cancel'], place)
    t.equal(code, 0)
    t.match(asked, [{ percent: 0 }])
    t.equal(stdout, 'n1 takes clients again\n')
  })

  for (const wrong of [['--percent', '0'], ['--percent', '101'], ['--percent', 'x'], ['--within', '5']]) {
    t.test(`with ${wrong.join(' ')} is wrong usage`, async t => {
      const { asked, place } = await given(t, [done])
      t.match(await run(['drain', 'n1', ...wrong], place), { code: 2, stderr: new RegExp(`argument '${wrong[1]}' is invalid`) })
      t.strictSame(asked, [])
    })
  }
})
