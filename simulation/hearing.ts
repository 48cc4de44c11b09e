import { uplinksRead } from './consumer.js'
import type { Inhabitants } from './inhabitants.js'
import { unread } from './judge.js'

const withinMs = 240_000
/** Broadcasts, of which each device gets one: a device that changes its node just then may miss it. */
const broadcastsMax = 3
const broadcastMs = 20_000

/** What business was told, and told everybody, when nothing bad happens any more: all of it. */
export class Hearing {
  constructor (readonly all: Inhabitants, readonly violations: string[]) {}

  async pass (): Promise<void> {
    const { consumers, group, receiver, observer } = this.all
    for (const consumer of consumers) {
      const last = await observer.numbers(consumer.options.of)
      await this.#until(() => unread(consumer, last))
      this.violations.push(...consumer.complaints)
    }
    const uplinks = await observer.numbers(uplinksRead)
    await this.#until(() => group?.lacks(uplinks))
    await this.#until(async () => receiver?.lacks(uplinks) && receiver.lacks(uplinks, await observer.undelivered()))
    await this.#lookForGivenUp()
    this.violations.push(...group?.complaints ?? [], ...receiver?.complaints ?? [])
    await this.#broadcast()
  }

  async #until (lacks: () => string | undefined | Promise<string | undefined>): Promise<void> {
    let lacking: string | undefined
    await this.all.observer.until(withinMs, async () => (lacking = await lacks()) === undefined)
    if (lacking !== undefined) this.violations.push(lacking)
  }

  /** A webhook goes on behind a record that was not settled only where that is in the stream `undelivered`. */
  async #lookForGivenUp (): Promise<void> {
    const { receiver, observer } = this.all
    if (!receiver) return
    const undelivered = await observer.undelivered()
    for (const [userId, seqs] of receiver.early) {
      for (const seq of seqs) {
        if (undelivered.has(`${userId} ${seq}`)) continue
        this.violations.push(`a webhook went on behind uplink ${seq} of ${userId} before that was settled`)
      }
    }
    for (const one of receiver.refused) {
      if (!undelivered.has(one)) this.violations.push(`a webhook refused uplink ${one}, and nobody has written it down`)
    }
  }

  /** A signal to everybody comes to every device that is connected. */
  async #broadcast (): Promise<void> {
    const { service, devices, observer } = this.all
    const left = new Set(devices)
    for (let i = 0; i < broadcastsMax && left.size > 0; i++) {
      const sent = service.broadcast()
      await observer.until(broadcastMs, () => {
        for (const device of left) {
          if (device.runs.at(-1)!.signals.some(({ messageId }) => messageId === sent)) left.delete(device)
        }
        return left.size === 0
      })
    }
    for (const { name } of left) this.violations.push(`${name} has got none of ${broadcastsMax} signals to everybody`)
  }
}
