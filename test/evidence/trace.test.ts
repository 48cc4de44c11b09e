import t, { type Test } from 'tap'
import { ConnectionSubject } from '../../evidence/connection.js'
import { DownlinkSubject } from '../../evidence/downlink.js'
import { inquire } from '../../evidence/inquiry.js'
import type { Surroundings } from '../../evidence/surroundings.js'
import { type Placed, type Subject, trace, type TraceRange } from '../../evidence/trace.js'
import { UplinkSubject } from '../../evidence/uplink.js'
import type { Block, LogReader } from '../../ledger/log.js'
import { unknownCounts } from '../../schemas/counts.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import { poison } from '../actors/given.js'
import {
  at, banned, closed, kicked, minute, opened, redelivered, reported, requested, skipped, uplink,
} from '../actors/user/history.js'
import { bare } from './surroundings.js'

interface Case {
  history: Array<Fact | Entry>
  code: string
  cause?: string
  text: RegExp
  steps: string[]
  around?: Partial<Surroundings>
}

const keptSince = { position: '0@9', atMs: 0 }

t.test('The trace of a downlink', async t => {
  const cases: Record<string, Case> = {
    'that was acked': {
      history: [opened('c1'), requested('m'), reported('c1', 1)],
      code: 'acked',
      text: /^phone: acked at 1970-01-01 00:00:02.000, 1 s after the request\.$/,
      steps: ['requested', 'sent', 'written', 'acked'],
    },
    'that was handed over, and acked after all': {
      history: [
        opened('c1'), requested('m'), requested('other'),
        ...['m', 'other'].map(messageId =>
          ({ type: 'HandOverDue', messageId, requestedAtMs: messageId === 'm' ? 1_000 : 2_000, payload: Buffer.of() } as const)),
        reported('c1', 2),
      ],
      code: 'acked',
      text: /^phone: acked at 1970-01-01 00:00:05.000, 4 s after the request\.$/,
      steps: ['requested', 'sent', 'handed-over', 'written', 'acked', 'withdrawn'],
    },
    'that the application skipped': {
      history: [opened('c1'), requested('m'), skipped('c1', 1, 'TypeError: x is null'), reported('c1', 1)],
      code: 'skipped',
      text: /^phone: the application failed at it \(TypeError: x is null\), and went on without it at 1970-01-01 00:00:02.000, /,
      steps: ['requested', 'sent', 'written', 'skipped'],
    },
    'that nobody requested': {
      history: [opened('c1'), requested('other')],
      code: 'never-requested',
      text: /^No request with the id m stands in the ledger.*a signal, which is never stored\.$/,
      steps: [],
    },
    'of a user of whom nobody has heard': {
      history: [],
      code: 'unknown-user',
      text: /^No entry of the ledger is of a user ann\.$/,
      steps: [],
    },
    'that was rejected': {
      history: [],
      around: { rejected: async () => ({ position: '0@3.0', atMs: 0, code: 'bad-request', reason: 'ttlMs: want 1 to 9' }) },
      code: 'rejected',
      cause: 'bad-request',
      text: /^No request stands in the ledger: it was rejected at 1970-01-01 .* with bad-request, ttlMs: want 1 to 9 \(downlinks\.rejected 0@3\.0\)\.$/,
      steps: [],
    },
    'that may have been before what is kept': {
      history: [opened('c1')],
      around: { keptSince },
      code: 'not-kept',
      text: /begins at 1970-01-01 00:00:00\.000 \(0@9\): retention has deleted what was before\.$/,
      steps: [],
    },
    'whose sessions began before what is kept': {
      history: [requested('m'), reported('c1', 1)],
      around: { keptSince },
      code: 'not-kept',
      text: /^It is requested; but the sessions that it was for do not begin/,
      steps: ['requested', 'waiting'],
    },
    'that was written and never acked, and acked by the next connection': {
      history: [
        opened('c1'), requested('m'), reported('c1', 0, 1), closed('c1', { code: 'heartbeat-timeout', writtenSeq: 1 }),
        opened('c2'), reported('c2', 1),
      ],
      code: 'acked',
      cause: 'heartbeat-timeout',
      text: /written to connection c1 on n1 at .*, not acked; the connection was silent for too long \(heartbeat-timeout\) 1 s later; then acked at/,
      steps: ['requested', 'sent', 'written', 'connection-ended', 'sent', 'written', 'acked'],
    },
    'that is written and not acked': {
      history: [opened('c1'), requested('m'), reported('c1', 0, 1)],
      code: 'not-acked',
      text: /never acked; the connection is open\.$/,
      steps: ['requested', 'sent', 'written'],
    },
    'on a connection whose node says nothing any more': {
      history: [opened('c1'), requested('m'), reported('c1', 0, 1)],
      around: { nodeGone: async () => ({ code: 'node-silent', atMs: 0 }) },
      code: 'unreported',
      cause: 'node-silent',
      text: /never acked; the node has not reported since 1970-01-01 00:00:00\.000\.$/,
      steps: ['requested', 'sent', 'written'],
    },
    'that no socket has taken': {
      history: [opened('c1'), requested('m')],
      code: 'not-written',
      text: /never written; the connection is open, and its socket has not taken it yet\.$/,
      steps: ['requested', 'sent'],
    },
    'whose device went away with it': {
      history: [opened('c1'), requested('m'), closed('c1', { code: 'connection-lost' })],
      code: 'unwritten',
      cause: 'connection-lost',
      text: /never written; the connection was lost \(connection-lost\) 1 s later; it waits until the device connects again/,
      steps: ['requested', 'sent', 'connection-ended'],
    },
    'whose device went away after it was written': {
      history: [opened('c1'), requested('m'), closed('c1', { code: 'slow-consumer', writtenSeq: 1 })],
      code: 'unacked',
      cause: 'slow-consumer',
      text: /never acked; the connection read too slowly for what it was sent \(slow-consumer\)/,
      steps: ['requested', 'sent', 'written', 'connection-ended'],
    },
    'whose node died with it': {
      history: [opened('c1'), requested('m'), closed('c1', { code: 'node-lost' })],
      code: 'unreported',
      cause: 'node-lost',
      text: /nobody could say whether it was written; the connection was lost with its node \(node-lost\) 1 s later/,
      steps: ['requested', 'sent', 'connection-ended'],
    },
    'whose device was superseded, and not yet told': {
      history: [opened('c1'), requested('m'), kicked('k')],
      code: 'unwritten',
      cause: 'kicked-by-operator',
      text: /was kicked by an operator \(kicked-by-operator\)/,
      steps: ['requested', 'sent'],
    },
    'for a device that is offline': {
      history: [opened('c1'), closed('c1'), requested('m')],
      code: 'offline',
      cause: 'disconnected',
      text: /^phone: offline since 1970-01-01 00:00:01\.000, when its connection was closed by its client \(disconnected\); it waits/,
      steps: ['requested', 'queued'],
    },
    'that expired while its device was offline': {
      history: [
        opened('c1'), closed('c1'), at(minute, requested('m', { ttlMs: minute })), at(5 * minute, opened('c2')),
      ],
      code: 'expired',
      cause: 'offline',
      text: /; it expired at 1970-01-01 00:05:00\.000\.$/,
      steps: ['requested', 'queued', 'expired'],
    },
    'that is past its time, which no entry has said yet': {
      history: [opened('c1'), closed('c1'), requested('m', { ttlMs: minute })],
      around: { nowMs: 2 * minute },
      code: 'expired',
      cause: 'offline',
      text: /its time to live was over at 1970-01-01 00:01:02\.000, and nobody gets it any more\.$/,
      steps: ['requested', 'queued'],
    },
    'for a user without a session': {
      history: [requested('m')],
      code: 'waiting',
      cause: 'no-session',
      text: /first session/,
      steps: ['requested', 'waiting'],
    },
    'that waited for the first session': {
      history: [requested('m'), opened('c1'), reported('c1', 1)],
      code: 'acked',
      text: /acked at/,
      steps: ['requested', 'waiting', 'sent', 'written', 'acked'],
    },
    'that waited for the first session for too long': {
      history: [requested('m', { ttlMs: 1 }), opened('c1')],
      code: 'expired',
      cause: 'offline',
      text: /^phone: .*it expired at/,
      steps: ['requested', 'waiting', 'expired'],
    },
    'for platforms that the user has not': {
      history: [opened('c1'), requested('m', { platforms: ['android'] })],
      code: 'no-target',
      cause: 'platform-filter',
      text: /no session of the user is of the platforms.*phone: left out by the platforms of the request\.$/,
      steps: ['requested', 'dropped'],
    },
    'that leaves out the only device': {
      history: [opened('c1'), requested('m', { exceptDevices: ['phone'] })],
      code: 'no-target',
      cause: 'device-filter',
      text: /phone: left out by the exceptDevices of the request\.$/,
      steps: ['requested', 'dropped'],
    },
    'that names another device only': {
      history: [opened('c1'), requested('m', { devices: ['pad'] })],
      code: 'no-target',
      cause: 'device-filter',
      text: /phone: left out by the devices of the request\.$/,
      steps: ['requested', 'dropped'],
    },
    'whose session ended': {
      history: [opened('c1'), requested('m'), closed('c1', { endSession: true })],
      code: 'session-ended',
      cause: 'disconnected',
      text: /the session ended before it was acked/,
      steps: ['requested', 'sent', 'dropped'],
    },
    'that an outbox had no room for': {
      history: [opened('c1'), closed('c1'), requested('m'), ...Array.from({ length: 1_000 }, (_, i) => requested(`x${i}`))],
      code: 'outbox-full',
      cause: 'offline',
      text: /too many unacked downlinks; the oldest was dropped/,
      steps: ['requested', 'queued', 'dropped'],
    },
    'that was requested twice': {
      history: [opened('c1'), requested('m'), requested('m'), reported('c1', 1)],
      code: 'acked',
      cause: 'duplicate',
      text: /acked at .*requested again with the same id: the first one stands/,
      steps: ['requested', 'sent', 'duplicate', 'written', 'acked'],
    },
    'for two devices, of which one acks': {
      history: [
        opened('c1'), opened('c2', { deviceId: 'laptop', sessionId: 's2' }), requested('m'), reported('c1', 1),
      ],
      code: 'not-written',
      text: /^phone: acked at .*\. laptop: sent to connection c2/,
      steps: ['requested', 'sent', 'sent', 'written', 'acked'],
    },
    'that an operator had redelivered': {
      history: [opened('c1'), requested('m'), reported('c1', 1), redelivered('m'), reported('c1', 2)],
      code: 'acked',
      cause: 'redelivered',
      text: /^phone: acked at .*, then redelivered at .* by request r1: phone: acked at/,
      steps: ['requested', 'sent', 'written', 'acked', 'redelivered', 'sent', 'written', 'acked'],
    },
    'that an operator had redelivered while it was unacked, twice by one request': {
      history: [opened('c1'), requested('m'), redelivered('m'), redelivered('m'), reported('c1', 2)],
      code: 'acked',
      cause: 'redelivered',
      text: /^phone: acked at .*, then redelivered at/,
      steps: ['requested', 'sent', 'redelivered', 'sent', 'duplicate', 'written', 'written', 'acked', 'acked'],
    },
  }
  for (const [which, example] of Object.entries(cases)) {
    t.test(which, async t => { await check(t, example, new DownlinkSubject('m')) })
  }
})

t.test('The trace of an uplink', async t => {
  const refused: Fact = { type: 'UplinksRefused', connectionId: 'c1', fromSeq: 2, toSeq: 4, code: 'throttled', count: 3 }
  const published = async () => ({ position: '0@5.1', userSeq: 2 })
  const cases: Record<string, Case> = {
    'that was accepted': {
      history: [opened('c1'), uplink('c1', 1), uplink('c1', 2)],
      around: { published },
      code: 'accepted',
      text: /^Accepted at .* as the user's 2, and handed to business at 0@5\.1 of uplinks\.$/,
      steps: ['received', 'accepted'],
    },
    'that is not in the stream yet': {
      history: [opened('c1'), uplink('c1', 1), uplink('c1', 2)],
      code: 'unpublished',
      text: /^Accepted at .* as the user's 2, and not in uplinks yet\.$/,
      steps: ['received', 'accepted'],
    },
    'that came twice': {
      history: [opened('c1'), uplink('c1', 1), uplink('c1', 2), uplink('c1', 2)],
      around: { published },
      code: 'accepted',
      cause: 'duplicate',
      text: /the user's 2, .* It came once more and got the same answer\.$/,
      steps: ['received', 'accepted', 'received', 'duplicate'],
    },
    'that was refused for a gap': {
      history: [opened('c1'), uplink('c1', 2)],
      code: 'gap',
      text: /1 had to come first/,
      steps: ['received', 'gap'],
    },
    'that its edge refused': {
      history: [opened('c1'), uplink('c1', 1), refused, closed('c1', { code: 'rate-limited' })],
      code: 'throttled',
      text: /^Refused by its edge before .* with throttled: .*, and it has not come since; the last connection of the session sent too many frames/,
      steps: ['refused', 'connection-ended'],
    },
    'that its edge refused, and that came later': {
      history: [opened('c1'), uplink('c1', 1), refused, uplink('c1', 2)],
      around: { published },
      code: 'accepted',
      cause: 'throttled',
      text: /^Refused by its edge .*; and it was accepted at .* as the user's 2/,
      steps: ['refused', 'received', 'accepted'],
    },
    'that never reached us': {
      history: [opened('c1'), uplink('c1', 1), closed('c1', { code: 'connection-lost' })],
      code: 'never-reached-us',
      cause: 'connection-lost',
      text: /connection c1 on n1 had sent up to 1 and was lost \(connection-lost\) at .*, after 2 s; the session has not come back since\.$/,
      steps: ['connection-ended'],
    },
    'without which a later one came': {
      history: [opened('c1'), uplink('c1', 1), uplink('c1', 3), closed('c1', { code: 'connection-lost' })],
      code: 'never-reached-us',
      cause: 'connection-lost',
      text: /had sent up to 3 without it and was lost/,
      steps: [],
    },
    'that has not come yet': {
      history: [opened('c1'), uplink('c1', 1)],
      code: 'not-received',
      text: /is open, and had sent up to 1\.$/,
      steps: [],
    },
    'that has not come, and its node says nothing any more': {
      history: [opened('c1'), uplink('c1', 1)],
      around: { nodeGone: async () => ({ code: 'node-lost', atMs: 0 }) },
      code: 'never-reached-us',
      cause: 'node-lost',
      text: /and its node was lost at/,
      steps: [],
    },
    'of a session that nobody opened': {
      history: [opened('c1', { sessionId: 'other' })],
      code: 'no-session',
      text: /session s1 has ever opened/,
      steps: [],
    },
    'of a session that the device has replaced': {
      history: [opened('c1'), opened('c2', { sessionId: 's2' }), uplink('c1', 2)],
      code: 'session-replaced',
      text: /begun another session/,
      steps: ['received', 'session-replaced'],
    },
    'of a connection behind which another one has taken over': {
      history: [opened('c1'), opened('c2'), uplink('c1', 2)],
      code: 'connection-replaced',
      text: /a later connection of the session had taken over/,
      steps: ['received', 'connection-replaced'],
    },
    'of a session that has ended': {
      history: [opened('c1'), closed('c1', { endSession: true }), uplink('c1', 2)],
      code: 'session-ended',
      text: /when the session had ended/,
      steps: ['connection-ended', 'received', 'session-ended'],
    },
    'that the fold can not judge, for what was before is deleted': {
      history: [opened('c1'), uplink('c1', 2)],
      around: { keptSince },
      code: 'not-kept',
      text: /^Nothing tells what became of uplink 2 of session s1 in what is kept/,
      steps: ['received', 'gap'],
    },
    'that the fold can not judge, but that stands in the stream': {
      history: [opened('c1'), uplink('c1', 2)],
      around: { keptSince, published },
      code: 'accepted',
      text: /handed to business at 0@5\.1 of uplinks\.$/,
      steps: ['received', 'gap'],
    },
  }
  for (const [which, example] of Object.entries(cases)) {
    t.test(which, async t => { await check(t, example, new UplinkSubject('s1', 2)) })
  }
})

t.test('The trace of a connection', async t => {
  const cases: Record<string, Case> = {
    'tells who it was, what went over it and how it ended': {
      history: [
        opened('c0'), closed('c0', { code: 'connection-lost' }), requested('m1'), opened('c1'),
        uplink('c1', 1), uplink('c1', 2), uplink('c1', 2), uplink('c1', 4),
        { type: 'UplinksRefused', connectionId: 'c1', fromSeq: 5, toSeq: 9, code: 'throttled', count: 5 },
        requested('m2'), reported('c1', 1, 2), closed('c1', { code: 'heartbeat-timeout', writtenSeq: 2, ackedSeq: 1 }),
        opened('c2'),
      ],
      code: 'heartbeat-timeout',
      text: /^After 8 s connection c1 on n1 of phone was silent for too long \(heartbeat-timeout\)\. Over it: 4 uplinks received, 1 to 4, 2 accepted, 1 repeats, 1 refused for a gap, 5 refused by the edge; downlinks 1 to 2 sent, up to 2 written, up to 1 acked; 1 unacked then\.$/,
      steps: ['opened', 'resumed', 'welcomed', 'gap', 'refused', 'uplinks', 'downlinks', 'ended', 'succeeded'],
    },
    'tells what was reported of it where its node was lost': {
      history: [
        opened('c1'), requested('m1'), requested('m2'), requested('m3'), reported('c1', 1, 2),
        closed('c1', { code: 'node-lost', told: false, ...unknownCounts }),
      ],
      code: 'node-lost',
      text: /downlinks 1 to 3 sent, up to 2 reported as written, up to 1 reported as acked; 2 unacked then\.$/,
      steps: ['opened', 'welcomed', 'uplinks', 'downlinks', 'ended'],
    },
    'tells who ended it': {
      history: [opened('c1'), kicked('k'), closed('c1', { code: 'kicked', reason: 'test' })],
      code: 'kicked',
      cause: 'kicked-by-operator',
      text: /was kicked by an operator \(kicked-by-operator\): test\. Over it: no uplink received; no downlink sent; 0 unacked then\.$/,
      steps: ['opened', 'welcomed', 'told-to-end', 'uplinks', 'downlinks', 'ended'],
    },
    'tells that it was banned': {
      history: [opened('c1'), banned('b'), closed('c1', { code: 'banned', reason: 'spam' })],
      code: 'banned',
      text: /was banned \(banned\): spam\. Over it: no uplink received; no downlink sent; 0 unacked then\.$/,
      steps: ['opened', 'welcomed', 'told-to-end', 'uplinks', 'downlinks', 'ended'],
    },
    'tells that it was let in no more': {
      history: [banned('b'), opened('c1'), closed('c1', { code: 'banned', reason: 'spam' })],
      code: 'banned',
      text: /was banned \(banned\): spam\./,
      steps: ['opened', 'told-to-end', 'uplinks', 'downlinks', 'ended'],
    },
    'tells whose key asked for the ban, also of one that was let in no more': {
      history: [banned('b', { by: '5f0c9a1b2e' }), opened('c1'), closed('c1', { code: 'banned', reason: 'spam' })],
      code: 'banned',
      text: /was banned \(banned\), as an operator with the key 5f0c9a1b2e wanted: spam\./,
      steps: ['opened', 'told-to-end', 'uplinks', 'downlinks', 'ended'],
    },
    'tells whose key asked for the drain that it had to leave for': {
      history: [opened('c1'), closed('c1', { code: 'migrating', reason: 'the node drains' })],
      around: { drainOf: async (nodeId: string) => ({ by: '5f0c9a1b2e', reason: `new disk for ${nodeId}` }) },
      code: 'migrating',
      text: /unacked then\. Its node was drained then, as an operator with the key 5f0c9a1b2e wanted: new disk for n1\.$/,
      steps: ['opened', 'welcomed', 'uplinks', 'downlinks', 'ended'],
    },
    'tells of no drain where it ended for another reason': {
      history: [opened('c1'), closed('c1', { code: 'heartbeat-timeout' })],
      around: { drainOf: async () => ({ by: '', reason: '' }) },
      code: 'heartbeat-timeout',
      text: /unacked then\.$/,
      steps: ['opened', 'welcomed', 'uplinks', 'downlinks', 'ended'],
    },
    'tells that it is being ended': {
      history: [opened('c1'), opened('c2', { deviceId: 'laptop', loginPolicy: 'user' })],
      code: 'closing',
      cause: 'kicked-by-policy',
      text: /^Told to end at .* \(kicked-by-policy\), which its edge has not confirmed/,
      steps: ['opened', 'welcomed', 'told-to-end'],
    },
    'tells that it is open': {
      history: [opened('c1')],
      code: 'open',
      text: /^Since .* connection c1 on n1 of phone is open\./,
      steps: ['opened', 'welcomed'],
    },
    'tells that there was none': {
      history: [opened('c2')],
      code: 'no-connection',
      text: /^No connection c1 of this user has ever opened\.$/,
      steps: [],
    },
  }
  for (const [which, example] of Object.entries(cases)) {
    t.test(which, async t => { await check(t, example, new ConnectionSubject('c1')) })
  }

  t.test('tells of no frames where nobody has counted them', async t => {
    const lost = closed('c1', { code: 'node-lost', told: false, ...unknownCounts })
    const { steps } = await traced([opened('c1'), lost], new ConnectionSubject('c1'), bare())
    t.match(steps.at(-1)!.text, /^ended with node-lost; 1000 ms$/)
  })
})

t.test('A trace of a range', async t => {
  const history = [opened('c1'), requested('m'), reported('c1', 0, 1), reported('c1', 1)]

  t.test('shows the steps from there on, with all that was before folded', async t => {
    const { steps, verdict } = await traced(history, new DownlinkSubject('m'), bare(), { since: { type: 'time', atMs: 2_000 } })
    t.strictSame(steps.map(({ event }) => event), ['written', 'acked'])
    t.equal(verdict.code, 'acked')
  })
  t.test('knows nothing of what came later', async t => {
    const until = { type: 'position', position: { partition: 0, offset: 2n, index: 0 }, wholeBlock: true } as const
    const { steps, verdict } = await traced(history, new DownlinkSubject('m'), bare(), { until })
    t.strictSame(steps.map(({ event }) => event), ['requested', 'sent', 'written'])
    t.equal(verdict.code, 'not-acked')
  })
})

t.test('A trace goes on without an entry that no fold survives, as the gateway did, and says so', async t => {
  const entries = [opened('c1'), requested('m'), poison('c1', 1), reported('c1', 1)].map((fact, i) => at(1_000 * i, fact))
  const log: LogReader = {
    partitions: () => 1,
    bounds: async () => ({ first: 0n, next: BigInt(entries.length) }),
    offsetAt: async () => 0n,
    async * read (stream): AsyncGenerator<Block<any>> {
      if (stream.name !== 'ledger') return
      for (const [i, entry] of entries.entries()) yield { partition: 0, offset: BigInt(i), items: [entry] }
    },
  }
  const { steps, verdict } = await inquire(log, 'ann', { messageId: 'm' })
  t.strictSame(steps.map(({ event, position }) => `${position} ${event}`),
    ['0@1.0 requested', '0@1.0 sent', '0@2.0 set-aside', '0@3.0 written', '0@3.0 acked'])
  t.equal(verdict.code, 'acked')
})

t.test('The stages of a downlink are timed from the step that each begins with', async t => {
  const { steps } = await traced([
    opened('c1'), at(1_000, requested('m')), at(5_000, reported('c1', 0, 1)), at(12_000, reported('c1', 1)),
  ], new DownlinkSubject('m'), bare())
  t.strictSame(steps.map(({ stage, stageMs }) => `${stage} ${stageMs}`),
    [' 0', 'requested-sent 0', 'sent-written 4000', 'written-acked 7000'])
})

async function check (t: Test, { history, code, cause = '', text, steps, around }: Case, subject: Subject) {
  const { verdict, steps: found } = await traced(history, subject, bare(around))
  t.equal(verdict.code, code)
  t.equal(verdict.cause, cause)
  t.match(verdict.text, text)
  t.strictSame(found.map(({ event }) => event), steps)
}

/** Facts stand one a second from time 0, each in a block of its own. */
async function traced (history: Array<Fact | Entry>, subject: Subject, surroundings: Surroundings, range?: TraceRange) {
  const entries: Placed[] = history.map((step, i) => ({
    position: { partition: 0, offset: BigInt(i), index: 0 },
    entry: 'fact' in step ? step : at(i * 1_000, step),
  }))
  return await trace('ann', entries, subject, surroundings, range)
}
