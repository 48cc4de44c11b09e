import { idBytesMax, isId } from './text.js'

/*
  What a client may do in rooms. A token says it of many by patterns, its claim `rooms`; business of one room and user.

    CLAIM   => { PATTERN: RIGHT, ... }, at most `roomPatternsMax`
    PATTERN => a room id, or what room ids begin with and "*" behind it; "*" alone is any room
    RIGHT   => r: it may join, w: it may post, rw: both
*/

/** In the order that stored bytes number them by: new ones go to the end. */
export const roomRightNames = ['r', 'w', 'rw'] as const

/** What somebody may do in a room. */
export type RoomRight = typeof roomRightNames[number]

export const roomPatternsMax = 64

export function isRoomRight (value: unknown): value is RoomRight {
  return (roomRightNames as readonly unknown[]).includes(value)
}

/** What a claim must be, for an error behind its name. */
export const roomClaimWanted = `want an object of at most ${roomPatternsMax} patterns, each a room id of at most ` +
  `${idBytesMax} bytes, or its beginning with "*" at the end, with r, w or rw for its value`

/** The rights of one token. */
export class RoomPatterns {
  /** Rights by room id. */
  readonly #ids = new Map<string, RoomRight>()
  /** By what ids begin with. */
  readonly #beginnings = new Map<string, RoomRight>()

  /** Of a token without the claim. */
  static readonly none = new RoomPatterns()

  get isEmpty (): boolean { return this.#ids.size === 0 && this.#beginnings.size === 0 }

  /** @returns undefined where `claim` is none */
  static of (claim: unknown): RoomPatterns | undefined {
    if (typeof claim !== 'object' || claim === null || Array.isArray(claim)) return undefined
    const entries = Object.entries(claim)
    if (entries.length > roomPatternsMax) return undefined
    const patterns = new RoomPatterns()
    for (const [pattern, right] of entries) {
      if (!isRoomRight(right) || !isPattern(pattern)) return undefined
      if (pattern.endsWith('*')) patterns.#beginnings.set(pattern.slice(0, -1), right)
      else patterns.#ids.set(pattern, right)
    }
    return patterns
  }

  /** Whether any of the patterns allows it. */
  may (right: 'r' | 'w', roomId: string): boolean {
    if (this.#ids.get(roomId)?.includes(right)) return true
    for (const [beginning, rights] of this.#beginnings) {
      if (rights.includes(right) && roomId.startsWith(beginning)) return true
    }
    return false
  }
}

function isPattern (pattern: string): boolean {
  const star = pattern.indexOf('*')
  return isId(pattern) && (star < 0 || star === pattern.length - 1)
}
