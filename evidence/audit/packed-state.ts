import { savedStateOf, stateOf } from '../../actors/user/parts.js'
import type { UserState } from '../../actors/user/state.js'

/*
  A whole state in one buffer, a third of what its parts take one by one
    STATE => HEAD *PART
      HEAD => uint32, big-endian: bytes of the head; the head
      PART => uint8: bytes of its id; the id; uint32, big-endian: bytes of the part; the part
*/

/** @throws what can not be encoded */
export function packed (state: UserState): Buffer {
  const { head, parts } = savedStateOf(state)
  let bytes = 4 + head.length
  for (const [id, part] of parts) bytes += 5 + id.length + part.length
  const target = Buffer.allocUnsafeSlow(bytes)
  let pos = target.writeUInt32BE(head.length)
  pos += head.copy(target, pos)
  for (const [id, part] of parts) {
    pos = target.writeUInt8(id.length, pos)
    pos += target.write(id, pos, 'latin1')
    pos = target.writeUInt32BE(part.length, pos)
    pos += part.copy(target, pos)
  }
  return target
}

/** @param bytes as `packed` gave them */
export function unpacked (bytes: Buffer): UserState {
  let pos = 4 + bytes.readUInt32BE()
  const head = bytes.subarray(4, pos)
  const parts = new Map<string, Buffer>()
  while (pos < bytes.length) {
    const idEnd = pos + 1 + bytes[pos]!
    const end = idEnd + 4 + bytes.readUInt32BE(idEnd)
    parts.set(bytes.toString('latin1', pos + 1, idEnd), bytes.subarray(idEnd + 4, end))
    pos = end
  }
  return stateOf({ head, parts })
}
