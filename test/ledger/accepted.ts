import type { UplinkAccepted } from '../../schemas/records.js'

/** An uplink of Ada's as it stands in `uplinks`. */
export function accepted (userSeq: number, payload = `${userSeq}`): UplinkAccepted {
  return {
    userId: 'ada',
    userSeq,
    deviceId: 'phone',
    platform: 'ios',
    sessionId: 's',
    seq: userSeq,
    connectionId: 'c',
    service: 'chat',
    payload: Buffer.from(payload),
    priority: 0,
    receivedAtMs: 1_700_000_000_000,
    roomId: '',
  }
}
