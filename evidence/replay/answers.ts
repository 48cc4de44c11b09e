import type { Deliver, Effect, Welcome } from '../../actors/user/effects.js'
import { headSeq, type UserState } from '../../actors/user/state.js'

/** What a fold decided, from this build or from another, which may know effects that this one does not. */
export type Answer = Effect | { readonly type: string, readonly [field: string]: unknown }

/**
 * The effects, and behind a `welcome` the downlinks that follow it: those come out of the outbox, not out of the fold.
 *
 * @throws whatever the effects or the state of another build make it throw
 */
export function answersOf (effects: Iterable<Answer>, state: UserState): Answer[] {
  const answers: Answer[] = []
  for (const effect of effects) {
    answers.push(effect.type === 'deliver' ? asSent(effect as Deliver) : effect)
    if (effect.type === 'welcome') answers.push(...followingWelcome(effect as Welcome, state))
  }
  return answers
}

function followingWelcome (
  { nodeId, connectionId }: { nodeId: string, connectionId: string }, state: UserState
): Answer[] {
  const session = state.sessions.get(state.connections.get(connectionId)?.deviceId ?? '')
  if (!session) return []
  const head = headSeq(session)
  const downlinks = session.outbox.slice(0, session.numbered)
  const deliver = { type: 'deliver', nodeId, connectionId } as const
  return downlinks.map((message, i) => {
    const downlink = { ...message, payload: message.payload! } // at hand: the state was never saved
    return asSent({ ...deliver, seq: head + i, downlink })
  })
}

/** Without what stays in the outbox, such as whom it is for: that of another version may know of more, or less. */
function asSent ({ downlink: { messageId, service, payload, requestedAtMs }, ...effect }: Deliver): Answer {
  return { ...effect, downlink: { messageId, service, payload, requestedAtMs } }
}

/** What each kind of effect is called in a report. */
const kindNames: Readonly<Record<string, string>> = {
  welcome: 'welcomes',
  ackUplink: 'acks',
  refuseUplink: 'refusals',
  deliver: 'deliveries',
  closeConnection: 'closes',
  publishUplink: 'publishes',
  publish: 'records',
  settle: 'settles',
}

/** The kinds in which two lists differ; `order` where only that does. Empty where they are the same. */
export function kindsOfDifference (a: readonly Answer[], b: readonly Answer[]): string[] {
  if (alike(a, b)) return []
  const kinds: string[] = []
  for (const type of new Set([...a, ...b].map(({ type }) => type))) {
    const of = (answers: readonly Answer[]) => answers.filter(answer => answer.type === type)
    if (!alike(of(a), of(b))) kinds.push(kindNames[type] ?? type)
  }
  return kinds.length > 0 ? kinds : ['order']
}

/** Deeply equal, whichever realm the objects are of; views of bytes are equal when their bytes are. */
function alike (a: any, b: any): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (ArrayBuffer.isView(a) || ArrayBuffer.isView(b)) {
    return ArrayBuffer.isView(a) && ArrayBuffer.isView(b) && bytesOf(a).equals(bytesOf(b))
  }
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  for (const key of keys) if (!Object.hasOwn(b, key) || !alike(a[key], b[key])) return false
  return true
}

function bytesOf ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)
}

/** One line for people, without the payload. */
export function describeAnswer (answer: Answer): string {
  const effect = answer as Effect
  switch (effect.type) {
    case 'welcome': {
      const { connectionId, resumed, uplinkSeq, downlinkSeq, lastSeq, missed } = effect
      return `welcome ${connectionId}, ${resumed ? 'resumed' : 'new'}, uplinks up to ${uplinkSeq}, downlinks ` +
        `${downlinkSeq} to ${lastSeq}, missed ${missed}`
    }
    case 'ackUplink': return `ack uplink ${effect.seq} as the user's ${effect.userSeq} to ${effect.connectionId}`
    case 'refuseUplink': return `refuse uplinks of ${effect.connectionId}: ${effect.code}, expected ${effect.expectedSeq}`
    case 'deliver': return `deliver ${effect.downlink.messageId} as ${effect.seq} to ${effect.connectionId}`
    case 'closeConnection': return `close ${effect.connectionId}: ${effect.code}, ${effect.reason}`
    case 'publishUplink': return `publish uplink ${effect.uplink.seq} of ${effect.uplink.deviceId} as the user's ${effect.uplink.userSeq}`
    case 'publish': return `tell the stream ${effect.stream} of ${effect.record.userId}`
    case 'settle': {
      const { messageId, deviceId, seq, outcome, reason } = effect
      return `${messageId} ${outcome}${reason === '' ? '' : ` (${reason})`}` +
        `${deviceId === '' ? '' : ` for ${deviceId}`}${seq === 0 ? '' : ` as ${seq}`}`
    }
    default: return String(answer.type)
  }
}
