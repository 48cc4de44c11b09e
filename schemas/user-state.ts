import avsc from 'avsc'
import { loadHistory, loadSchema } from './avsc-files.js'
import { GatewayError } from './errors.js'
import { boundedBy } from './guard.js'
import { type AvroSchema, fingerprintOf, headerBytes, readHeader, register, registeredSchema, writeHeader } from './single-object.js'

/** A user's state as its snapshot holds it (`user-state.avsc`): plain values and lists. */
export interface StoredUserState {
  offset: number
  userSeq: number
  sessionsBegun: number
  sessions: StoredSession[]
  connections: StoredConnection[]
  requests: string[]
  remembered: Uint8Array
  waiting: StoredDownlink[]
  forgotten: StoredForgotten[]
}

export interface StoredSession {
  deviceId: string
  ordinal: number
  platform: string
  sessionId: string
  connectionId: string
  touchedAtMs: number
  uplinkSeq: number
  answers: number[]
  answersMax: number
  nextSeq: number
  ackedSeq: number
  toldSeq: number
  missed: number
  numbered: number
  outbox: StoredDownlink[]
}

export interface StoredDownlink {
  readonly messageId: string
  readonly service: string
  readonly payload: Uint8Array
  readonly requestedAtMs: number
  readonly expiresAtMs: number
  readonly platforms: readonly string[]
  readonly exceptDevices: readonly string[]
  readonly devices: readonly string[]
}

export interface StoredForgotten {
  deviceId: string
  atMs: number
  knownSeq: number
  lastSeq: number
  unnumbered: number
}

export interface StoredConnection {
  connectionId: string
  nodeId: string
  deviceId: string
  sessionId: string
  sessionOrdinal: number
  missed: number
  downlinkSeq: number
  open: boolean
  resumed: boolean
}

for (const record of loadHistory()) register(record)

const schema = loadSchema('user-state')
const fingerprint = fingerprintOf(schema)
const type = avsc.Type.forSchema(schema as any, { wrapUnions: true })
const readers = new Map([[fingerprint, readerOf(schema)]])

let scratch = Buffer.alloc(16 * 1024)

/** @returns a buffer of its own, behind a single-object header */
export function encodeUserState (state: StoredUserState): Buffer {
  let end = type.encode(state, scratch, headerBytes)
  if (end < 0) {
    scratch = Buffer.allocUnsafeSlow(2 * (scratch.length - end))
    end = type.encode(state, scratch, headerBytes)
  }
  writeHeader(fingerprint, scratch, 0)
  return Buffer.from(scratch.subarray(0, end))
}

/** @throws GatewayError `bad-record` when these are not the bytes of a user's state in a version that is registered */
export function decodeUserState (bytes: Buffer): StoredUserState {
  const written = readHeader(bytes)
  let reader = readers.get(written)
  if (!reader) {
    const older = registeredSchema(written)
    if (!older) throw new GatewayError('bad-record', 'a user state in a schema that this build does not know')
    readers.set(written, reader = readerOf(older))
  }
  return reader(bytes)
}

function readerOf (writer: AvroSchema): (bytes: Buffer) => StoredUserState {
  const written = avsc.Type.forSchema(writer as any, { wrapUnions: true })
  const resolver = writer === schema ? undefined : type.createResolver(written)
  const bounds = boundedBy(written)
  return bytes => {
    if (bounds(bytes, headerBytes, bytes.length) !== bytes.length) {
      throw new GatewayError('bad-record', 'bytes behind a user state')
    }
    return type.decode(bytes, headerBytes, resolver).value
  }
}
