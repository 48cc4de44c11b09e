/* Groups of devices that go on whatever happens to them, for measurements of what a gateway does to the others. */
import { setTimeout as wait } from 'node:timers/promises'
import { Device } from './device.js'
import { quantile } from './quantile.js'

const openMsMax = 60_000
const tickMs = 1
const drainMsMax = 10_000
const drainPollMs = 5

export class Crowd {
  #target
  /** @type {Map<string, Device[]>} */
  #groups = new Map()
  #flooding = new Map()

  constructor (target) {
    this.#target = target
  }

  /**
   * Opens devices, and resolves when all are.
   *
   * @param {object} options
   * @param {string} options.group its name
   * @param {number} options.count
   * @param {number[]} options.payloadBytes of an uplink; devices take them in turn
   * @param {number} [options.devicesOfUser] 1 by default
   * @param {boolean} [options.reads] see `DeviceOptions`
   * @param {boolean} [options.acksDownlinks]
   * @param {number} [options.window]
   * @param {number} [options.priority] of uplinks
   * @param {number} [options.openPerSecond] an address may open so many
   */
  async gather ({ group, count, payloadBytes, devicesOfUser = 1, openPerSecond = 150, ...options }) {
    const payloads = payloadBytes.map(bytes => Buffer.alloc(bytes, 'ledgerline '))
    const devices = Array.from({ length: count }, (_, i) => new Device({
      ...this.#target,
      ...options,
      userId: `${group}-${Math.floor(i / devicesOfUser)}`,
      deviceId: `device-${i % devicesOfUser}`,
      payload: payloads[i % payloads.length],
      acked: (device, seq) => { device.onAcked?.(seq) },
    }))
    this.#groups.set(group, devices)
    for (const device of devices) {
      device.connect()
      await wait(1000 / openPerSecond)
    }
    const late = new AbortController()
    await Promise.race([
      Promise.all(devices.map(({ opened }) => opened)),
      wait(openMsMax, undefined, { signal: late.signal }).then(() => {
        throw new Error(`${group}: ${devices.filter(({ isOpen }) => !isOpen).length} of ${count} are not open`)
      }),
    ])
    late.abort()
  }

  /**
   * Without a rate each device sends as many as it may. With one, uplinks come at fixed times, to the devices in turn,
   * whether answers come or not.
   *
   * @param {{ group: string, perSecond?: number }} options uplinks a second of each device
   */
  flood ({ group, perSecond }) {
    const devices = this.#groups.get(group)
    if (perSecond === undefined) {
      for (const device of devices) {
        device.due = Infinity
        device.pump()
      }
      return
    }
    const everyMs = 1000 / (perSecond * devices.length)
    // What a device could not send in time is not sent in a burst later, but for what one second brings.
    const backlogMax = Math.max(1, perSecond)
    const startMs = performance.now()
    let made = 0
    this.#flooding.set(group, setInterval(() => {
      const first = made
      for (const due = (performance.now() - startMs) / everyMs; made < due; made++) {
        const device = devices[made % devices.length]
        device.due = Math.min(device.due + 1, device.next - 1 + backlogMax)
      }
      // What one device is to send in the same moment is one write.
      const end = Math.min(made, first + devices.length)
      for (let i = first; i < end; i++) devices[i % devices.length].pump()
    }, tickMs))
  }

  /** Ends what `flood` began. Devices stay. */
  calm ({ group }) {
    clearInterval(this.#flooding.get(group))
    for (const device of this.#groups.get(group)) device.due = device.next - 1
  }

  /** What has happened to a group since it gathered. */
  report ({ group }) {
    const devices = this.#groups.get(group)
    const ended = {}
    for (const device of devices) {
      for (const [code, count] of device.ended) ended[code] = (ended[code] ?? 0) + count
    }
    const sum = field => devices.reduce((total, device) => total + device[field], 0)
    return {
      open: devices.filter(({ isOpen }) => isOpen).length,
      acked: sum('acked'),
      refused: sum('refused'),
      delivered: sum('delivered'),
      bytesSent: sum('bytesSent'),
      ended,
    }
  }

  leave ({ group }) {
    if (this.#flooding.has(group)) this.calm({ group })
    for (const device of this.#groups.get(group) ?? []) device.leave()
    this.#groups.delete(group)
  }

  /**
   * Uplinks at a fixed rate, by the devices of a group in turn; each counts from when it first left. What was refused
   * or lost its connection is sent again, and counts until it is acked, at most `drainMsMax`.
   *
   * @param {{ group: string, perSecond: number, windowMs: number }} options
   * @returns {Promise<{ p50Ms: number, p99Ms: number, maxMs: number, lateMs: number, unanswered: number }>}
   *   `lateMs` is a 99th percentile of how long after its time an uplink left
   */
  async pace ({ group, perSecond, windowMs }) {
    const devices = this.#groups.get(group)
    const everyMs = 1000 / perSecond
    const total = Math.round(windowMs / everyMs)
    const latency = new Float64Array(total).fill(drainMsMax)
    const late = new Float64Array(total)
    const leftAtMs = new Float64Array(total)
    const counts = { answered: 0 }
    devices.forEach((device, i) => {
      device.due = device.next - 1
      const first = device.due + 1
      let told = device.due
      device.onAcked = seq => {
        const nowMs = performance.now()
        for (; told < seq; told++, counts.answered++) {
          const number = i + (told + 1 - first) * devices.length
          latency[number] = Math.min(drainMsMax, nowMs - leftAtMs[number])
        }
      }
    })
    const startMs = performance.now()
    for (let made = 0; made < total; await wait(tickMs)) {
      for (; made < total && startMs + made * everyMs <= performance.now(); made++) {
        const device = devices[made % devices.length]
        leftAtMs[made] = performance.now()
        late[made] = leftAtMs[made] - (startMs + made * everyMs)
        device.due++
        device.pump()
      }
    }
    const endMs = performance.now() + drainMsMax
    while (performance.now() < endMs && counts.answered < total) await wait(drainPollMs)
    for (const device of devices) device.onAcked = undefined
    const sorted = latency.sort()
    return {
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
      maxMs: sorted.at(-1),
      lateMs: quantile(late.sort(), 0.99),
      unanswered: total - counts.answered,
    }
  }
}
