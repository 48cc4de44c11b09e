import avsc from 'avsc'
import { ofPartition } from '../actors/snapshots.js'
import type { OutboxMessage } from '../actors/user/messages.js'
import { stateOf } from '../actors/user/parts.js'
import type { UserState } from '../actors/user/state.js'
import { differences } from '../actors/user/whole-state.js'
import { loadSchema } from '../schemas/avsc-files.js'
import { fingerprintOf, headerBytes, writeHeader } from '../schemas/single-object.js'
import type { Random } from './random.js'
import type { SnapshotStore } from './stores/snapshots.js'

/** The format before states were saved in parts: each is one record. */
const schema = loadSchema('history/user-state-2')
const type = avsc.Type.forSchema(schema as any, { wrapUnions: true })

/** Some of the saved states are from now on what the version before would have saved. */
export function saveAsBefore (snapshots: SnapshotStore, random: Random): void {
  const older = snapshots.copy()
  for (const { users } of older.values()) {
    for (const [userId, saved] of users) {
      if (userId === ofPartition || random.chance(0.3)) continue
      const state = stateOf(saved)
      if (knowsMore(state)) continue
      users.set(userId, { ...saved, head: encoded(state), parts: new Map() })
    }
  }
  snapshots.restore(older)
}

/** Of what that version had no word for. */
function knowsMore (state: UserState): boolean {
  return state.bans.size > 0 || state.membershipsVersion > 0 || hasTold(state) ||
    Array.from(state.connections.values()).some(({ open, endCode }) => open && endCode !== '')
}

/** Streams that came later have records of it, whose numbers must not begin again. */
function hasTold ({ presenceSeq, receiptSeq, offlineSeq }: UserState): boolean {
  return presenceSeq > 0 || receiptSeq > 0 || offlineSeq > 0
}

function encoded (state: UserState): Buffer {
  const body = type.toBuffer({
    offset: Number(state.offset),
    userSeq: state.userSeq,
    sessionsBegun: state.sessionsBegun,
    sessions: Array.from(state.sessions.values(), session => ({
      ...session, answers: differences(session.answers), outbox: session.outbox.map(downlink),
    })),
    connections: Array.from(state.connections, ([connectionId, connection]) => ({ connectionId, ...connection })),
    requests: [],
    waiting: state.waiting.map(downlink),
    remembered: Buffer.from(state.requests.bytes),
    forgotten: Array.from(state.forgotten, ([deviceId, lost]) => ({ deviceId, ...lost })),
  })
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(schema), header, 0)
  return Buffer.concat([header, body])
}

function downlink (message: OutboxMessage): object { return { ...message, payload: Buffer.from(message.payload!) } }
