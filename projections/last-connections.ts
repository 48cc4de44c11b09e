import { closedMax, type ClosedSlot } from './closed.js'

/** The connection of a device that its next one resumes from, and whose device that is. */
export interface LastConnection {
  readonly userId: string
  readonly deviceId: string
  /** Empty where the session ended with it: the next one resumes from none. */
  readonly resumable: boolean
}

/**
 * What a device's next connection resumes from, for the devices of one partition whose last connection is closed.
 *
 * The slot in which `ClosedConnections` keeps a closing has this as well: `[n, connectionId, userId, deviceId]`, with a
 * fifth element, `0`, where the session ended. So it is bounded alike (`closedMax`): a device that comes back after so
 * many other closings of its partition resumes from nobody that is known here. Rejected: a row for each device, which
 * nobody would take away; an age, for that wants a sweep of the table.
 */
export class LastConnections {
  readonly #max: number
  /** By slot: connection id, empty where none is to be resumed from, and the device that the slot speaks for. */
  readonly #connections: string[] = []
  readonly #devices: (string | undefined)[] = []
  readonly #slots = new Map<string, number>()

  /** @param slots oldest first */
  constructor (slots: readonly ClosedSlot[], max = closedMax) {
    this.#max = max
    for (const [n, connectionId, userId, deviceId, resumable = 1] of slots) {
      const last = userId === undefined ? undefined : { userId, deviceId, resumable: resumable === 1 }
      this.note(n, connectionId, last)
    }
  }

  /** @returns a connection id, empty for none that is known */
  of (userId: string, deviceId: string): string {
    const slot = this.#slots.get(keyOf(userId, deviceId))
    return slot === undefined ? '' : this.#connections[slot]!
  }

  /**
   * Takes the nth closing; the one whose slot it gets is forgotten.
   *
   * @param last undefined where its device had opened a newer one before, or nobody knows whose it was
   * @returns what the slot is to hold
   */
  note (n: number, connectionId: string, last: LastConnection | undefined): ClosedSlot {
    const slot = n % this.#max
    const oldest = this.#devices[slot]
    if (oldest !== undefined && this.#slots.get(oldest) === slot) this.#slots.delete(oldest)
    const device = last && keyOf(last.userId, last.deviceId)
    this.#devices[slot] = device
    this.#connections[slot] = last?.resumable ? connectionId : ''
    if (!last || device === undefined) return [n, connectionId]
    this.#slots.set(device, slot)
    const { userId, deviceId, resumable } = last
    return resumable ? [n, connectionId, userId, deviceId] : [n, connectionId, userId, deviceId, 0]
  }
}

/** One key for both, whatever characters they have. */
function keyOf (userId: string, deviceId: string): string {
  return `${userId.length}:${userId}${deviceId}`
}
