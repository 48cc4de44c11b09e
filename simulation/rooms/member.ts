import type { Client } from '../../client/node.js'
import type { Host } from '../world.js'

/** Rooms that the tokens of all devices let them into, and one for those alone whom business puts into it. */
export const openRooms = ['room-0', 'room-1'] as const
export const closedRooms = ['team-0'] as const
export const rooms: readonly string[] = [...openRooms, ...closedRooms]
/** Of tokens. */
export const roomsClaim = { 'room-*': 'rw' }

/** To those whom business has not put into it. */
export function mayBeForbidden (roomId: string | undefined): boolean {
  return (closedRooms as readonly (string | undefined)[]).includes(roomId)
}

/** Of posts, those that the application takes a while over. */
const slowShare = 0.25

interface Place {
  /** The last post that the application was given, or was told to have missed; -1 where that is not known. */
  lastSeq: number
}

/** The rooms of an application on a device: what it was given, and what of that no member may be given. */
export class Member {
  /** By room and number: the id of the post. */
  readonly posts = new Map<string, Map<number, string>>()
  readonly complaints: string[] = []
  missed = 0
  #client: Client | undefined
  #host: Host | undefined
  /** By room, of the run that goes on. */
  readonly #places = new Map<string, Place>()

  /** @param wanted all closed rooms, and some open ones: it joins those whenever it is let in */
  constructor (readonly wanted: readonly string[]) {
    for (const roomId of wanted) this.posts.set(roomId, new Map())
  }

  /**
   * A run of the application begins.
   *
   * @param kept what its storage has
   * @param trace told what comes
   */
  begin (client: Client, host: Host, kept: ReadonlyMap<string, string>, trace: (what: string) => void): void {
    this.#client = client
    this.#host = host
    for (const roomId of this.wanted) {
      const place = { lastSeq: Number(kept.get(`room/${roomId}`) ?? -1) }
      this.#places.set(roomId, place)
      const room = client.room(roomId)
      room.on('post', async ({ roomSeq, messageId }) => {
        trace(`post ${roomId} ${roomSeq}`)
        this.#take(roomId, place, roomSeq, messageId)
        if (host.random.chance(slowShare)) await new Promise(resolve => setTimeout(resolve, host.random.between(0, 40)))
      })
      room.on('missed', ({ count }) => {
        trace(`missed ${count} of ${roomId}`)
        this.missed += count
        if (place.lastSeq >= 0) place.lastSeq += count
      })
      room.on('left', ({ code, reason }) => {
        trace(`left ${roomId} ${code}`)
        if (code === 'forbidden' && mayBeForbidden(roomId)) return
        this.complaints.push(`was put out of ${roomId} with ${code}: ${reason}`)
      })
    }
  }

  /** The application ends. */
  end (): void { this.#client = undefined }

  /** Wants no more of a room, and gives up its place. @returns whether there is an application that wanted it */
  leave (roomId: string): boolean {
    if (!this.#client || !this.wanted.includes(roomId)) return false
    this.#host!.later(0, `leaves ${roomId}`, () => {
      this.#places.get(roomId)!.lastSeq = -1
      this.#client?.room(roomId).leave()
    })
    return true
  }

  /** Goes on with what is posted from now on. */
  join (roomId: string): void {
    this.#host!.later(0, `joins ${roomId}`, () => { this.#client?.room(roomId).join() })
  }

  isIn (roomId: string): boolean { return this.#client?.room(roomId).isJoined === true }

  /** Without a gap but for what it was told of, and in order; nothing twice. */
  #take (roomId: string, place: Place, roomSeq: number, messageId: string): void {
    const { lastSeq } = place
    place.lastSeq = roomSeq
    if (lastSeq >= 0 && roomSeq !== lastSeq + 1) {
      this.complaints.push(`got post ${roomSeq} of ${roomId} after ${lastSeq}`)
    }
    const posts = this.posts.get(roomId)!
    const known = posts.get(roomSeq) ?? messageId
    if (known !== messageId) {
      this.complaints.push(`got ${messageId} as post ${roomSeq} of ${roomId}, and ${known} before`)
    }
    posts.set(roomSeq, messageId)
  }
}
