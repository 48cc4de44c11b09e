import type { Joined, Left, Post, Signal } from '../schemas/frames.js'
import { idWanted, isId } from '../schemas/text.js'
import type { ClientError } from './client-error.js'
import { Room } from './room.js'
import type { RoomDeps } from './room.js'
import type { Keeper } from './storage/keeper.js'

/*
  Kept:
    room/<roomId> => the post up to which all are done with
*/
const prefix = 'room/'

export type RoomsOptions = Omit<RoomDeps, 'line' | 'keep'> & { readonly keeper: Keeper }

/** The rooms that the application has asked for, by id. */
export class Rooms {
  readonly #rooms = new Map<string, Room>()
  readonly #places = new Map<string, number>()
  readonly #deps: RoomDeps
  #line: ReturnType<RoomDeps['line']>
  #end: { readonly error: ClientError | undefined } | undefined

  constructor ({ keeper, ...options }: RoomsOptions) {
    this.#deps = {
      ...options,
      line: () => this.#line,
      keep: (roomId, roomSeq) => {
        if (roomSeq === undefined) keeper.remove(prefix + roomId)
        else keeper.put(prefix + roomId, () => String(roomSeq))
      },
    }
  }

  /** @throws TypeError for what is no id */
  room (roomId: string): Room {
    if (!isId(roomId)) throw new TypeError(`roomId: ${idWanted}`)
    const known = this.#rooms.get(roomId)
    if (known) return known
    const room = new Room(roomId, this.#places.get(roomId) ?? -1, this.#deps)
    this.#rooms.set(roomId, room)
    if (this.#end) room.end(this.#end.error)
    return room
  }

  /** Takes over what an earlier run kept; before any room is joined. */
  restore (kept: ReadonlyMap<string, string>): void {
    for (const [key, value] of kept) {
      const roomSeq = Number(value)
      if (key.startsWith(prefix) && roomSeq >= 0) this.#places.set(key.slice(prefix.length), roomSeq)
    }
    for (const [roomId, room] of this.#rooms) room.restore(this.#places.get(roomId))
  }

  resume (line: ReturnType<RoomDeps['line']>): void {
    this.#line = line
    for (const room of this.#rooms.values()) room.resume()
  }

  /** No connection is open. */
  pause (): void {
    this.#line = undefined
    for (const room of this.#rooms.values()) room.pause()
  }

  end (error: ClientError | undefined): void {
    this.#line = undefined
    this.#end = { error }
    for (const room of this.#rooms.values()) room.end(error)
  }

  received (frame: Joined | Left | Post | Signal): void { this.#rooms.get(frame.roomId)?.received(frame) }
}
