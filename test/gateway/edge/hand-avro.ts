/*
  The frames of protocol.md 2, written and read here a second time, by hand and from that page alone: what these tests
  send and understand does not come from the codecs that they test.
*/

export interface Sent { readonly op: string, readonly [field: string]: unknown }
export interface Heard { readonly op: string, readonly [field: string]: any }

const frames: Record<string, [opcode: number, ...fields: string[]]> = {
  connect: [0x01, 'token:string', 'deviceId:string', 'platform:string', 'client:string', 'sessionId:string', 'downlinkSeq:long'],
  connected: [0x02, 'connectionId:string', 'nodeId:string', 'userId:string', 'resumed:boolean', 'uplinkSeq:long',
    'downlinkSeq:long', 'missed:long', 'heartbeatMs:long', 'uplinkWindow:long', 'frameBytesMax:long', 'serverTimeMs:long'],
  uplink: [0x03, 'seq:long', 'service:string', 'payload:bytes', 'priority:long', 'roomId:string'],
  uplinkAck: [0x04, 'seq:long', 'userSeqs:longs'],
  uplinkRefused: [0x05, 'expectedSeq:long', 'code:string', 'retryAfterMs:long'],
  downlink: [0x06, 'seq:long', 'messageId:string', 'service:string', 'payload:bytes', 'requestedAtMs:long'],
  downlinkAck: [0x07, 'seq:long'],
  ping: [0x08, 'downlinkSeq:long', 'silentMs:long'],
  pong: [0x09, 'uplinkSeq:long'],
  signal: [0x0a, 'service:string', 'payload:bytes', 'roomId:string'],
  migrate: [0x0b, 'withinMs:long', 'endpoints:strings', 'reason:string'],
  redirect: [0x0c, 'endpoints:strings', 'retryAfterMs:long', 'code:string'],
  kick: [0x0d, 'code:string', 'reason:string'],
  error: [0x0e, 'code:string', 'message:string', 'retryAfterMs:long'],
  disconnect: [0x0f, 'endSession:boolean'],
  token: [0x10, 'token:string'],
  tokenAccepted: [0x11, 'expiresAtMs:long'],
  join: [0x12, 'roomId:string', 'roomSeq:long'],
  joined: [0x13, 'roomId:string', 'roomSeq:long', 'missed:long'],
  leave: [0x14, 'roomId:string'],
  left: [0x15, 'roomId:string', 'code:string', 'reason:string'],
  post: [0x16, 'roomId:string', 'roomSeq:long', 'messageId:string', 'from:string', 'service:string', 'payload:bytes',
    'postedAtMs:long'],
  downlinkSkipped: [0x17, 'seq:long', 'reason:string'],
}

const defaults: Record<string, unknown> = {
  platform: 'unknown',
  client: '',
  downlinkSeq: 0,
  service: '',
  priority: 0,
  endSession: false,
  silentMs: 0,
  reason: '',
  roomId: '',
  roomSeq: -1,
}

/** An Avro long: zigzag, then seven bits a byte, the lowest first. */
export function long (value: number | bigint): Buffer {
  let left = BigInt.asUintN(64, BigInt(value) << 1n ^ BigInt(value) >> 63n)
  const bytes = []
  for (; left > 0x7fn; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(left)])
}

/** An Avro string or bytes. */
export function counted (value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([long(bytes.length), bytes])
}

/** Opcode and body. */
export function avro ({ op, ...values }: Sent): Buffer {
  const [opcode, ...fields] = frames[op]!
  return Buffer.concat([Buffer.of(opcode), ...fields.map(field => {
    const [name, type] = field.split(':') as [string, string]
    const value = name in values ? values[name] : defaults[name]
    switch (type) {
      case 'long': return long(value as number)
      case 'boolean': return Buffer.of(value ? 1 : 0)
      case 'longs': return items(value as number[], long)
      case 'strings': return items(value as string[], counted)
      default: return counted(value as string)
    }
  })])
}

function items<T> (values: readonly T[], write: (value: T) => Buffer): Buffer {
  return Buffer.concat([...values.length > 0 ? [long(values.length), ...values.map(write)] : [], long(0)])
}

/** A frame as it goes over TCP. */
export function withLength (frame: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(frame.length)
  return Buffer.concat([length, frame])
}

/** Reads what the server sent; throws where that is not to the letter. */
export function unavro (bytes: Buffer): Heard {
  let pos = 1
  const readLong = (): number => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(bytes[pos++]!)
      value |= (byte & 0x7fn) << shift
      if (byte < 0x80n) return Number(value >> 1n ^ -(value & 1n))
    }
  }
  const readBytes = (): Buffer => {
    const length = readLong()
    pos += length
    return bytes.subarray(pos - length, pos)
  }
  const readItems = <T>(read: () => T): T[] => {
    const values = []
    for (let count = readLong(); count > 0; count = readLong()) while (count-- > 0) values.push(read())
    return values
  }
  const found = Object.entries(frames).find(([, [opcode]]) => opcode === bytes[0])
  if (!found) throw new Error(`the server sent opcode ${bytes[0]}`)
  const [op, [, ...fields]] = found
  const frame: Record<string, unknown> = { op }
  for (const field of fields) {
    const [name, type] = field.split(':') as [string, string]
    switch (type) {
      case 'long': frame[name] = readLong(); break
      case 'boolean': frame[name] = bytes[pos++] === 1; break
      case 'longs': frame[name] = readItems(readLong); break
      case 'strings': frame[name] = readItems(() => readBytes().toString()); break
      case 'string': frame[name] = readBytes().toString(); break
      case 'bytes': frame[name] = payloadOf(readBytes())
    }
  }
  if (pos !== bytes.length) throw new Error(`${op} has ${bytes.length - pos} bytes too many`)
  return frame as unknown as Heard
}

function payloadOf (bytes: Buffer): string | { base64: string } {
  return Buffer.from(bytes.toString()).equals(bytes) ? bytes.toString() : { base64: bytes.toString('base64') }
}
