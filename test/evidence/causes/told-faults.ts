import { randomUUID } from 'node:crypto'
import { closed, redelivered, requested } from '../../actors/user/history.js'
import { dayMs, minuteMs, type Story } from './story.js'

/** What went wrong, and how a story of it goes. Those that lose many messages at once are told less often. */
export interface ToldFault {
  readonly fault: string
  readonly messages?: number
  /** It happens after the user actors have stopped. */
  readonly isLate?: boolean
  tell (story: Story): void
}

/** How a connection may end with a downlink on its way. */
const ends = [
  'heartbeat-timeout', 'slow-consumer', 'connection-lost', 'disconnected', 'migrating', 'token-expired', 'rate-limited',
  'protocol', 'bad-frame', 'internal',
]

/** The bounds of docs/limits.md. */
const outboxMax = 1_000
const sessionsMax = 64

/**
 * Everything that facts and time alone can do to a message. A story ends in the past: what is not over in it stays as
 * it is for ever.
 */
export const toldFaults: readonly ToldFault[] = [
  {
    fault: 'nothing',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'acked')
      phone.report({ written: true, acked: true })
    },
  },
  ...ends.map((code): ToldFault => ({
    fault: `written, then ${code}`,
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), `unacked/${code}`)
      phone.report({ written: true })
      phone.close(code)
    },
  })),
  {
    fault: 'acked by the next connection',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'acked/heartbeat-timeout')
      phone.report({ written: true })
      phone.close('heartbeat-timeout')
      phone.open()
      phone.report({ written: true, acked: true })
    },
  },
  {
    fault: 'sent, and the link lost it',
    tell (story) {
      story.device()
      story.plantDownlink(story.request(), 'not-written')
    },
  },
  {
    fault: 'sent, and the link lost it until the connection broke',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'unwritten/connection-lost')
      phone.close('connection-lost')
    },
  },
  {
    fault: 'the client never acks',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'not-acked')
      phone.report({ written: true })
    },
  },
  {
    fault: 'the client never acks, until the outbox is full',
    messages: 5,
    tell (story) {
      const phone = story.device()
      for (let i = 0; i < 5; i++) story.plantDownlink(story.request(), 'outbox-full/not-acked')
      for (let i = 0; i < outboxMax; i++) {
        if (i % 200 === 0) phone.report({ written: true })
        story.request()
      }
    },
  },
  {
    fault: 'the node was lost before it told anything',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'unreported/node-lost')
      phone.close('node-lost', { told: false })
    },
  },
  {
    fault: 'the node is silent',
    tell (story) {
      const phone = story.device('phone', { nodeId: 'silent' })
      story.plantDownlink(story.request(), 'unreported/node-silent')
      phone.report({ written: true })
    },
  },
  {
    fault: 'superseded by the same device',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'acked/superseded')
      const { connectionId } = phone
      phone.report({ written: true })
      phone.open()
      story.add(closed(connectionId, { code: 'superseded' }))
      phone.report({ written: true, acked: true })
    },
  },
  {
    fault: 'kicked by an operator',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'unacked/kicked-by-operator')
      phone.report({ written: true })
      story.kick(phone.connectionId)
      phone.close('kicked')
    },
  },
  {
    fault: 'kicked by the login policy',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request({ platforms: ['ios'] }), 'unacked/kicked-by-policy')
      phone.report({ written: true })
      story.device('laptop', { platform: 'mac', loginPolicy: 'user' })
      phone.close('kicked')
    },
  },
  {
    fault: 'never requested',
    tell (story) {
      story.device()
      story.plantDownlink(randomUUID(), 'never-requested')
    },
  },
  { fault: 'no such user', tell (story) { story.plantDownlink(randomUUID(), 'unknown-user') } },
  {
    fault: 'requested twice under one id',
    tell (story) {
      const phone = story.device()
      const messageId = story.request()
      story.plantDownlink(messageId, 'acked/duplicate')
      phone.report({ written: true, acked: true })
      story.add(requested(messageId, { payload: Buffer.from('another one') }))
    },
  },
  {
    fault: 'a filter names another platform',
    tell (story) {
      story.device()
      story.plantDownlink(story.request({ platforms: ['android'] }), 'no-target/platform-filter')
    },
  },
  {
    fault: 'a filter leaves out the only device',
    tell (story) {
      story.device()
      story.plantDownlink(story.request({ exceptDevices: ['phone'] }), 'no-target/device-filter')
    },
  },
  {
    fault: 'a filter names another device only',
    tell (story) {
      story.device()
      story.plantDownlink(story.request({ devices: ['pad'] }), 'no-target/device-filter')
    },
  },
  {
    fault: 'a filter leaves out one of two devices',
    tell (story) {
      story.device()
      const laptop = story.device('laptop', { platform: 'mac' })
      story.plantDownlink(story.request({ exceptDevices: ['phone'] }), 'acked/device-filter')
      laptop.report({ written: true, acked: true })
    },
  },
  {
    fault: 'the user never came',
    tell (story) { story.plantDownlink(story.request({ ttlMs: 365 * dayMs }), 'waiting/no-session') },
  },
  {
    fault: 'the user never came in 7 days',
    tell (story) {
      story.nowMs -= 8 * dayMs
      story.plantDownlink(story.request(), 'expired/no-session')
    },
  },
  {
    fault: 'too many waited for the user',
    messages: 5,
    tell (story) {
      for (let i = 0; i < 5; i++) story.plantDownlink(story.request(), 'waiting-full/no-session')
      for (let i = 0; i < outboxMax; i++) story.request()
    },
  },
  {
    fault: 'the device is offline',
    tell (story) {
      story.device().close('disconnected')
      story.plantDownlink(story.request({ ttlMs: 365 * dayMs }), 'offline/disconnected')
    },
  },
  {
    fault: 'the device is offline, after it was lost',
    tell (story) {
      story.device().close('heartbeat-timeout')
      story.plantDownlink(story.request({ ttlMs: 365 * dayMs }), 'offline/heartbeat-timeout')
    },
  },
  {
    fault: 'the device was offline for 7 days, and came back',
    tell (story) {
      story.nowMs -= 8 * dayMs
      const phone = story.device()
      phone.close('connection-lost')
      story.plantDownlink(story.request(), 'expired/offline')
      story.wait(7 * dayMs + minuteMs)
      phone.forget()
      phone.open()
    },
  },
  {
    fault: 'the device has been offline for more than 7 days',
    tell (story) {
      story.nowMs -= 8 * dayMs
      story.device().close('connection-lost')
      story.plantDownlink(story.request(), 'expired/offline')
    },
  },
  {
    fault: 'written, lost, and expired before the device came back',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request({ ttlMs: minuteMs }), 'expired/heartbeat-timeout')
      phone.report({ written: true })
      phone.close('heartbeat-timeout')
      story.wait(2 * minuteMs)
      phone.open()
    },
  },
  {
    fault: 'the outbox of an offline device is full',
    messages: 5,
    tell (story) {
      story.device().close('connection-lost')
      for (let i = 0; i < 5; i++) story.plantDownlink(story.request(), 'outbox-full/offline')
      for (let i = 0; i < outboxMax; i++) story.request()
    },
  },
  {
    fault: 'the device was forgotten among too many',
    tell (story) {
      story.device().close('connection-lost')
      story.plantDownlink(story.request({ platforms: ['ios'] }), 'sessions-full/offline')
      for (let i = 0; i < sessionsMax; i++) {
        const other = story.device(`browser${i}`, { platform: 'web' })
        story.request({ devices: [`browser${i}`] }) // those that never ack would be forgotten before it
        other.report({ written: true, acked: true })
        other.close('disconnected')
      }
    },
  },
  {
    fault: 'the user logged out',
    tell (story) {
      const phone = story.device()
      story.plantDownlink(story.request(), 'session-ended/disconnected')
      phone.report({ written: true })
      phone.close('disconnected', { endSession: true })
    },
  },
  {
    fault: 'redelivered by an operator, and acked',
    tell (story) {
      const phone = story.device()
      const messageId = story.request()
      story.plantDownlink(messageId, 'acked/redelivered')
      phone.report({ written: true, acked: true })
      redeliver(story, messageId)
      phone.toldOf()
      phone.report({ written: true, acked: true })
    },
  },
  {
    fault: 'redelivered by an operator, and the device stays away',
    tell (story) {
      const phone = story.device()
      const messageId = story.request()
      story.plantDownlink(messageId, 'offline/redelivered')
      phone.report({ written: true, acked: true })
      phone.close('disconnected')
      redeliver(story, messageId)
    },
  },
  {
    fault: 'an uplink comes twice',
    tell (story) {
      const phone = story.device()
      const seq = phone.uplink()
      phone.uplink(seq)
      story.plantUplink(phone, seq, 'accepted/duplicate')
    },
  },
  {
    fault: 'accepted, and its owner is gone before it published',
    isLate: true,
    tell (story) {
      const phone = story.device()
      story.plantUplink(phone, phone.uplink(), 'unpublished')
    },
  },
  {
    fault: 'an uplink is left out',
    messages: 2,
    tell (story) {
      const phone = story.device()
      story.plantUplink(phone, phone.lost(), 'never-reached-us/connection-lost')
      story.plantUplink(phone, phone.uplink(), 'gap')
      phone.close('connection-lost')
    },
  },
  {
    fault: 'the connection broke before the uplink came',
    tell (story) {
      const phone = story.device()
      story.plantUplink(phone, phone.lost(), 'never-reached-us/heartbeat-timeout')
      phone.close('heartbeat-timeout')
    },
  },
  {
    fault: 'the client has not sent the uplink yet',
    tell (story) {
      const phone = story.device()
      story.plantUplink(phone, phone.lost(), 'not-received')
    },
  },
  {
    fault: 'the edge refused the uplink for its priority',
    tell (story) {
      const phone = story.device()
      const seq = phone.lost()
      phone.refused('overloaded', seq, seq)
      story.plantUplink(phone, seq, 'overloaded')
    },
  },
  {
    fault: 'the edge refused the uplink, and it came again',
    tell (story) {
      const phone = story.device()
      const seq = phone.lost()
      phone.refused('throttled', seq, seq)
      phone.uplink(seq)
      story.plantUplink(phone, seq, 'accepted/throttled')
    },
  },
  {
    fault: 'the uplink came after the app was installed anew',
    tell (story) {
      const phone = story.device()
      const seq = phone.lost()
      const { connectionId, sessionId } = phone
      phone.sessionId = `${sessionId}/new`
      phone.open()
      phone.uplink(seq, connectionId)
      story.plantUplink({ sessionId }, seq, 'session-replaced')
    },
  },
  {
    fault: 'the uplink came after the user had logged out',
    tell (story) {
      const phone = story.device()
      phone.close('disconnected', { endSession: true })
      story.plantUplink(phone, phone.uplink(), 'session-ended')
    },
  },
  {
    fault: 'the session has never connected',
    tell (story) {
      const phone = story.device()
      phone.sessionId = 'of another device'
      story.plantUplink(phone, 1, 'no-session')
    },
  },
]

function redeliver (story: Story, messageId: string): void {
  story.add({ ...redelivered(messageId, randomUUID()), ttlMs: 365 * dayMs })
}
