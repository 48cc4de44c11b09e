import t from 'tap'
import { DownlinkSubject } from '../../evidence/downlink.js'
import { type Placed, type Subject, trace } from '../../evidence/trace.js'
import { UplinkSubject } from '../../evidence/uplink.js'
import type { Entry, Fact } from '../../schemas/facts.js'
import { at, closed, minute, opened, reported, requested, uplink } from '../actors/user/history.js'

t.test('The trace of a downlink', async t => {
  const cases: Record<string, { history: Array<Fact | Entry>, code: string, text: RegExp, steps: string[] }> = {
    'that was acked': {
      history: [opened('c1'), requested('m'), reported('c1', 1)],
      code: 'acked',
      text: /^phone: acked at 1970-01-01 00:00:02.000, 1 s after the request\.$/,
      steps: ['requested', 'sent', 'written', 'acked'],
    },
    'that nobody requested': {
      history: [opened('c1'), requested('other')],
      code: 'never-requested',
      text: /^No request with the id m stands in the ledger/,
      steps: [],
    },
    'that was written and never acked, and acked by the next connection': {
      history: [
        opened('c1'), requested('m'), reported('c1', 0, 1), closed('c1', { code: 'heartbeat-timeout', writtenSeq: 1 }),
        opened('c2'), reported('c2', 1),
      ],
      code: 'acked',
      text: /written to connection c1 on n1 at .*, not acked; the connection ended with heartbeat-timeout 1 s later; then acked at/,
      steps: ['requested', 'sent', 'written', 'connection-ended', 'sent', 'written', 'acked'],
    },
    'that is written and not acked': {
      history: [opened('c1'), requested('m'), reported('c1', 0, 1)],
      code: 'not-acked',
      text: /never acked; the connection is open\.$/,
      steps: ['requested', 'sent', 'written'],
    },
    'that no socket has taken': {
      history: [opened('c1'), requested('m')],
      code: 'not-written',
      text: /never written; the socket has not taken it yet\.$/,
      steps: ['requested', 'sent'],
    },
    'whose device went away with it': {
      history: [opened('c1'), requested('m'), closed('c1', { code: 'connection-lost' })],
      code: 'offline',
      text: /never written; the connection ended with connection-lost 1 s later; it waits until the device connects again/,
      steps: ['requested', 'sent', 'connection-ended'],
    },
    'for a device that is offline': {
      history: [opened('c1'), closed('c1'), requested('m')],
      code: 'offline',
      text: /^phone: it had no connection; it waits until the device connects again\.$/,
      steps: ['requested', 'queued'],
    },
    'that expired while its device was offline': {
      history: [
        opened('c1'), closed('c1'), at(minute, requested('m', { ttlMs: minute })), at(5 * minute, opened('c2')),
      ],
      code: 'expired',
      text: /^phone: it had no connection; it expired at 1970-01-01 00:05:00\.000\.$/,
      steps: ['requested', 'queued', 'expired'],
    },
    'for a user without a session': {
      history: [requested('m')],
      code: 'waiting',
      text: /first session/,
      steps: ['requested', 'waiting'],
    },
    'that waited for the first session': {
      history: [requested('m'), opened('c1'), reported('c1', 1)],
      code: 'acked',
      text: /acked at/,
      steps: ['requested', 'waiting', 'sent', 'written', 'acked'],
    },
    'for platforms that the user has not': {
      history: [opened('c1'), requested('m', { platforms: ['android'] })],
      code: 'no-target',
      text: /no session was of the platforms/,
      steps: ['requested', 'dropped'],
    },
    'whose session ended': {
      history: [opened('c1'), requested('m'), closed('c1', { endSession: true })],
      code: 'session-ended',
      text: /the session ended with it unacked/,
      steps: ['requested', 'sent', 'dropped'],
    },
    'that an outbox had no room for': {
      history: [opened('c1'), closed('c1'), requested('m'), ...Array.from({ length: 1_000 }, (_, i) => requested(`x${i}`))],
      code: 'outbox-full',
      text: /the outbox was full/,
      steps: ['requested', 'queued', 'dropped'],
    },
    'that was requested twice': {
      history: [opened('c1'), requested('m'), requested('m'), reported('c1', 1)],
      code: 'acked',
      text: /acked at/,
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
  }
  for (const [which, { history, code, text, steps }] of Object.entries(cases)) {
    t.test(which, async t => {
      const { verdict, steps: found } = await traced(history, new DownlinkSubject('m'))
      t.equal(verdict.code, code)
      t.match(verdict.text, text)
      t.strictSame(found.map(({ event }) => event), steps)
    })
  }
})

t.test('The trace of an uplink', async t => {
  const cases: Record<string, { history: Array<Fact | Entry>, code: string, text: RegExp, steps: string[] }> = {
    'that was accepted': {
      history: [opened('c1'), uplink('c1', 1), uplink('c1', 2)],
      code: 'accepted',
      text: /^Accepted at .* as the user's 2, and handed to business\.$/,
      steps: ['received', 'accepted'],
    },
    'that came twice': {
      history: [opened('c1'), uplink('c1', 1), uplink('c1', 2), uplink('c1', 2)],
      code: 'accepted',
      text: /the user's 2/,
      steps: ['received', 'accepted', 'received', 'duplicate'],
    },
    'that was refused for a gap': {
      history: [opened('c1'), uplink('c1', 2)],
      code: 'gap',
      text: /1 had to come first/,
      steps: ['received', 'gap'],
    },
    'that never reached us': {
      history: [opened('c1'), uplink('c1', 1), closed('c1', { code: 'connection-lost' })],
      code: 'never-reached-us',
      text: /connection c1 on n1 had sent up to 1 when it ended with connection-lost at .*, after 2 s/,
      steps: ['connection-ended'],
    },
    'that has not come yet': {
      history: [opened('c1'), uplink('c1', 1)],
      code: 'not-received',
      text: /is open, and has sent up to 1\.$/,
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
  }
  for (const [which, { history, code, text, steps }] of Object.entries(cases)) {
    t.test(which, async t => {
      const { verdict, steps: found } = await traced(history, new UplinkSubject('s1', 2))
      t.equal(verdict.code, code)
      t.match(verdict.text, text)
      t.strictSame(found.map(({ event }) => event), steps)
    })
  }
})

/** Facts stand one a second from time 0, each in a block of its own. */
async function traced (history: Array<Fact | Entry>, subject: Subject) {
  const entries: Placed[] = history.map((step, i) => ({
    position: { partition: 0, offset: BigInt(i), index: 0 },
    entry: 'fact' in step ? step : at(i * 1_000, step),
  }))
  return await trace('ann', entries, subject)
}
