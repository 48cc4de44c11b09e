import t from 'tap'
import { shown } from '../../cli/print.js'
import { startProgress } from '../../cli/progress.js'
import { connections } from '../../schemas/streams.js'
import { closed, opened, refused, requested, uplink } from '../actors/user/history.js'
import { StoredLog } from '../evidence/stored-log.js'
import { until } from '../faults/node-process.js'
import { run } from './given.js'

/** Clears the screen, rings, breaks the line, turns the direction of writing, and is a control of C1. */
const nasty = (name: string) => `${name}\x1b[2J\x07\nforged line\u202e\x9b31m\u2028`

// eslint-disable-next-line no-control-regex
const control = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]|^forged/m

t.test('On the ledger of a gateway that took any text for a name', async t => {
  const stored = await StoredLog.open(t)
  const names = { deviceId: nasty('phone'), platform: nasty('ios'), sessionId: nasty('s'), client: nasty('app') }
  const where = { address: nasty('1.2.3.4'), nodeId: nasty('n1') }
  const user = 'ann'
  await stored.at(1_000, user, opened('c1', { ...names, ...where }))
  await stored.at(2_000, user, requested(nasty('m1'), { service: nasty('shop') }))
  await stored.at(2_500, user, { ...uplink('c1', 1), service: nasty('shop') } as ReturnType<typeof uplink>, refused('c1', 3))
  await stored.at(3_000, user, closed('c1', { reason: nasty('why') }), opened(nasty('c2'), { ...names, ...where }))
  await stored.log.append(connections, 0, [{
    ...connectionRow(), userId: user, ...names, ...where, reason: nasty('why'),
  }])
  await stored.close()
  const place = { cwd: stored.directory, env: { LEDGERLINE_DATA: stored.directory } }

  for (const args of [
    ['trace', user, '--message', nasty('m1')],
    ['trace', user, '--uplink', `${nasty('s')}:1`],
    ['trace', user, '--connection', 'c1'],
    ['state', user],
    ['state', user, '--diff', '1970-01-01T00:00:01Z', '1970-01-01T00:00:03Z'],
    ['presence'],
    ['presence', '--user', user],
    ['history'],
    ['audit'],
    ['replay'],
    ['replay', '--policy', 'loginPolicy=user'],
  ]) {
    t.test(`${args[0]} ${args[2]?.slice(0, 8) ?? ''} prints nothing that a terminal obeys`, async t => {
      for (const json of [[], ['--json']]) {
        const { stdout, stderr } = await run([...args, ...json], place)
        t.not(stdout, '')
        t.notMatch(stdout, control)
        t.notMatch(stderr, control)
      }
    })
  }
  t.test('an error says nothing that a terminal obeys', async t => {
    const { stderr } = await run(['presence', '--at', nasty('x')], place)
    t.match(stderr, /^ledgerline: /)
    t.notMatch(stderr, control)
  })
})

t.test('a value that is shown', async t => {
  t.strictSame(shown({ a: [nasty('x')], [nasty('k')]: 1, n: null, big: 1n, bytes: Buffer.from('\n') }), {
    a: ['x\\u001b[2J\\u0007\\nforged line\\u202e\\u009b31m\\u2028'],
    'k\\u001b[2J\\u0007\\nforged line\\u202e\\u009b31m\\u2028': 1,
    n: null,
    big: 1n,
    bytes: Buffer.from('\n'),
  })
})

t.test('the label of a progress bar is shown on one line', async t => {
  let text = ''
  const to = { isTTY: true, write: (more: string) => { text += more } } as unknown as NodeJS.WriteStream
  const progress = startProgress({ label: nasty('drain'), total: 1, unit: 'connections' }, to)
  await until(() => text !== '')
  progress.end()
  t.match(text, 'drain\\u001b[2J\\u0007\\nforged line')
})

function connectionRow () {
  return {
    userId: '',
    connectionId: 'c1',
    deviceId: '',
    platform: '',
    client: '',
    sessionId: '',
    transport: 'tcp' as const,
    address: '',
    nodeId: '',
    nodeEpoch: 1,
    openedAtMs: 1,
    closedAtMs: 2,
    code: 'disconnected',
    reason: '',
    writtenSeq: 0,
    ackedSeq: 0,
    framesIn: 0,
    framesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    uplinks: 0,
    downlinksWritten: 0,
    downlinksAcked: 0,
    roundTripMs: -1,
    resumedFrom: '',
    resumedTo: '',
    by: '',
  }
}
