import { InvalidArgumentError } from 'commander'
import { isRoomRight, roomClaimWanted, RoomPatterns, type RoomRight } from '../schemas/room-rights.js'

/**
 * The claim `rooms` of a token, as a person writes it: `chat:*=rw,news=r`, or JSON, where a room id has a comma.
 *
 * @throws InvalidArgumentError what is wanted
 */
export function parseRooms (text: string): Record<string, RoomRight> {
  const claim = text.startsWith('{') ? fromJson(text) : fromPairs(text)
  if (RoomPatterns.of(claim) === undefined) throw new InvalidArgumentError(roomClaimWanted)
  return claim as Record<string, RoomRight>
}

function fromJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new InvalidArgumentError('want JSON where it begins with "{"')
  }
}

function fromPairs (text: string): unknown {
  return Object.fromEntries(text.split(',').map(pair => {
    const at = pair.lastIndexOf('=')
    const right = pair.slice(at + 1)
    if (at < 0 || !isRoomRight(right)) throw new InvalidArgumentError('want PATTERN=r, PATTERN=w or PATTERN=rw, comma-separated')
    return [pair.slice(0, at), right]
  }))
}
