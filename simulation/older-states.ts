import avsc from 'avsc'
import { ofPartition } from '../actors/snapshots.js'
import type { OutboxMessage } from '../actors/user/messages.js'
import { stateOf } from '../actors/user/parts.js'
import type { UserState } from '../actors/user/state.js'
import { differences } from '../actors/user/whole-state.js'
import { loadSchema } from '../schemas/avsc-files.js'
import { type AvroSchema, fingerprintOf, headerBytes, writeHeader } from '../schemas/single-object.js'
import type { Random } from './random.js'
import type { SnapshotStore } from './stores/snapshots.js'

/** The form before states were saved in parts: each is one record. */
const schema = loadSchema('history/user-state-2')
const type = avsc.Type.forSchema(schema as any, { wrapUnions: true })

/** Records of states in parts that have got fields since, by their headers: each with its form before that. */
const grown = new Map([
  ['user-state/head', 'history/head-2'],
  ['user-state/session', 'history/session-1'],
  ['user-state/connection', 'history/connection-3'],
  ['user-state/message', 'history/message-1'],
].map(([now, before]) => {
  const schema = loadSchema(now!)
  return [headerOf(schema).toString('hex'), formOf(schema, loadSchema(before!))]
}))

/**
 * Some of the saved states are from now on what an older build would have saved: in parts, as the version before wrote
 * them, or whole, as the one before parts did.
 */
export function saveAsBefore (snapshots: SnapshotStore, random: Random): void {
  const older = snapshots.copy()
  for (const { users } of older.values()) {
    for (const [userId, saved] of users) {
      if (userId === ofPartition || random.chance(0.3)) continue
      const state = stateOf(saved)
      if (random.chance(0.5) && !knowsMore(state)) {
        users.set(userId, { ...saved, head: encoded(state), parts: new Map() })
      } else {
        const parts = new Map(Array.from(saved.parts, ([id, part]) => [id, before(part)]))
        users.set(userId, { ...saved, head: before(saved.head), parts })
      }
    }
  }
  snapshots.restore(older)
}

/** Takes a record to the form before; undefined where it says what that form has no word for. */
function formOf (now: AvroSchema, old: AvroSchema): (bytes: Buffer) => Buffer | undefined {
  const [type, oldType] = [now, old].map(each =>
    avsc.Type.forSchema(each as any, { wrapUnions: true }) as RecordType)
  const known = new Set(oldType!.fields.map(({ name }) => name))
  const more = type!.fields.filter(({ name }) => !known.has(name))
  return bytes => {
    const record = type!.decode(bytes, headerBytes).value
    for (const { name, defaultValue } of more) {
      if (JSON.stringify(record[name]) !== JSON.stringify(defaultValue())) return undefined
    }
    return Buffer.concat([headerOf(old), oldType!.toBuffer(record)])
  }
}

type RecordType = avsc.types.RecordType

/** As it is, where the older build had the same form, or none for what it says. */
function before (bytes: Buffer): Buffer { return grown.get(bytes.toString('hex', 0, headerBytes))?.(bytes) ?? bytes }

function headerOf (schema: AvroSchema): Buffer {
  const header = Buffer.alloc(headerBytes)
  writeHeader(fingerprintOf(schema), header, 0)
  return header
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
  return Buffer.concat([headerOf(schema), body])
}

function downlink (message: OutboxMessage): object { return { ...message, payload: Buffer.from(message.payload!) } }
