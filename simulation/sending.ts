import type { Client, ClientError } from '../client/node.js'
import type { Device } from './device.js'
import { mayBeForbidden } from './rooms/member.js'

/** Of uplinks, those that are posts in a room. */
const postShare = 0.15
/** Of posts in a room that it was not let into, those that are tried: each costs the session, and a connection. */
const strangerShare = 0.15
const prioritiesSent = [-1, 0, 0, 0, 1]
/** Of the SDK, by default. */
const outboxMax = 1_000

/** What an application sends, and what came of it. No two payloads are alike. */
export class Sending {
  /** By payload: what `send` resolved with; undefined while it has not. */
  readonly sent = new Map<string, { readonly seq: number, readonly userSeq: number | undefined } | undefined>()
  /** Payloads of posts that it had no right to make. */
  readonly forbidden = new Set<string>()
  #count = 0

  constructor (
    readonly device: Pick<Device, 'name' | 'options' | 'member' | 'host' | 'complaints'>,
    readonly trace: (what: string) => void
  ) {}

  /**
   * @param isPlain it is no post
   * @param isCurrent whether the client is the one of the application, when it is known what came of it
   */
  send (client: Client, isPlain: boolean, isCurrent: () => boolean): void {
    const payload = `${this.device.name} ${++this.#count}`
    this.sent.set(payload, undefined)
    this.trace(`uplink ${this.#count}`)
    const unacked = client.unackedUplinks
    const roomId = isPlain ? undefined : this.#roomToPostIn()
    const sending = roomId === undefined
      ? client.send(payload, { priority: this.device.host.random.pick(prioritiesSent) })
      : client.room(roomId).post(payload)
    sending.then(
      ({ seq, userSeq }) => {
        this.sent.set(payload, { seq, userSeq: userSeq ?? undefined })
        this.trace(`uplinkAck ${seq}`)
      },
      (err: ClientError) => {
        // It was not taken in; or the client has ended, and what it has kept goes out when somebody signs in again.
        // A client that has just begun knows a moment later what waits.
        const waiting = Math.max(unacked, client.unackedUplinks)
        if (err.code === 'outbox-full' && waiting >= outboxMax) this.sent.delete(payload)
        else if (err.code === 'forbidden' && mayBeForbidden(roomId)) this.forbidden.add(payload)
        else if (isCurrent()) this.device.complaints.push(`send of ${payload}: ${String(err)}`)
      })
  }

  #roomToPostIn (): string | undefined {
    const { host: { random }, options: { rooms }, member } = this.device
    const roomId = random.chance(postShare) ? random.pick(rooms) : undefined
    if (roomId === undefined || !mayBeForbidden(roomId) || member.isIn(roomId)) return roomId
    return random.chance(strangerShare) ? roomId : undefined
  }
}
