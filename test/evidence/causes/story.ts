import { randomUUID } from 'node:crypto'
import type {
  ConnectionClosed, ConnectionOpened, DownlinkRequested, Entry, Fact, UplinksRefused,
} from '../../../schemas/facts.js'
import { closed, opened, requested } from '../../actors/user/history.js'
import type { Planted } from './planted.js'

/** Since when all nodes of the stories run. */
export interface Nodes { readonly epochMs: number }

/**
 * What happens to one user, told as the facts that edges and business would append. It keeps its own account of what
 * was sent, written and acked: the gateway's is what is being judged.
 */
export class Story {
  readonly entries: Entry[] = []
  readonly planted: Planted[] = []
  readonly devices: Device[] = []
  #messages = 0

  /** @param nowMs when it begins */
  constructor (
    readonly userId: string, readonly fault: string, readonly nodes: Nodes, readonly random: () => number,
    public nowMs: number
  ) {}

  /** Some time passes: up to a few seconds, or so much. */
  wait (ms = 10 + Math.trunc(3_000 * this.random())): void { this.nowMs += ms }

  add (fact: Fact): void {
    this.entries.push({ userId: this.userId, atMs: this.nowMs, fact })
    this.wait()
  }

  /** A device that has connected, and with which all went well for a while. */
  device (deviceId = 'phone', { platform = 'ios', ...more }: Partial<ConnectionOpened> = {}): Device {
    const device = new Device(this, deviceId, platform)
    this.devices.push(device)
    device.open(more)
    for (let i = Math.trunc(4 * this.random()); i > 0; i--) device.uplink()
    for (let i = Math.trunc(4 * this.random()); i > 0; i--) {
      this.request()
      for (const each of this.devices) if (each.isOpen) each.report({ written: true, acked: true })
    }
    return device
  }

  /** A request for all devices, or for those that `with_` leaves. @returns its id */
  request (with_: Partial<DownlinkRequested> = {}): string {
    const messageId = with_.messageId ?? `m${++this.#messages}-${this.userId}`
    this.add(requested(messageId, { ttlMs: 7 * dayMs, ...with_ }))
    for (const device of this.devices) {
      const wanted = !with_.platforms?.length || with_.platforms.includes(device.platform)
      const named = !with_.devices?.length || with_.devices.includes(device.deviceId)
      if (wanted && named && !with_.exceptDevices?.includes(device.deviceId)) device.toldOf()
    }
    return messageId
  }

  kick (connectionId = ''): void {
    this.add({ type: 'KickRequested', requestId: randomUUID(), connectionId, reason: 'asked for', by: '' })
  }

  plantDownlink (messageId: string, expected: string): void {
    const { fault, userId } = this
    this.planted.push({ fault, userId, inquiry: { messageId }, expected })
  }

  plantUplink ({ sessionId }: { readonly sessionId: string }, seq: number, expected: string): void {
    const { fault, userId } = this
    this.planted.push({ fault, userId, inquiry: { sessionId, seq }, expected })
  }
}

export const minuteMs = 60_000
export const dayMs = 86_400_000

let connections = 0

/** One device of a story, and the edge that its connections are on. */
export class Device {
  sessionId: string
  connectionId = ''
  isOpen = false
  /** Downlinks numbered, written on this connection, acked; and those that wait for a number. */
  #sent = 0
  #pending = 0
  #written = 0
  #acked = 0
  #uplinks = 0

  constructor (readonly story: Story, readonly deviceId: string, readonly platform: string) {
    this.sessionId = `${story.userId}/${deviceId}`
  }

  open (with_: Partial<ConnectionOpened> = {}): void {
    this.connectionId = `c${++connections}`
    this.isOpen = true
    this.#sent += this.#pending
    this.#pending = 0
    this.#written = this.#acked
    const { connectionId, deviceId, platform, sessionId } = this
    const { epochMs } = this.story.nodes
    this.story.add(opened(connectionId, {
      deviceId, platform, sessionId, nodeEpoch: epochMs, downlinkSeq: this.#acked, uplinkWindow: 256, ...with_,
    }))
  }

  close (code: string, with_: Partial<ConnectionClosed> = {}): void {
    this.isOpen = false
    const { connectionId } = this
    this.story.add(closed(connectionId, {
      code, writtenSeq: code === 'node-lost' ? 0 : this.#written, ackedSeq: code === 'node-lost' ? 0 : this.#acked, ...with_,
    }))
  }

  /** A request was for it. */
  toldOf (): void {
    if (this.isOpen) this.#sent++
    else this.#pending++
  }

  /** What waited for it was given up. */
  forget (): void { this.#pending = 0 }

  report ({ written = false, acked = false }: { written?: boolean, acked?: boolean }): void {
    if (written) this.#written = this.#sent
    if (acked) this.#acked = this.#written
    this.story.add({
      type: 'DeliveryReported', connectionId: this.connectionId, writtenSeq: this.#written, ackedSeq: this.#acked,
    })
  }

  /** It went to the socket, and nobody has reported it yet. */
  write (): void { this.#written = this.#sent }

  /** @returns its seq */
  uplink (seq = ++this.#uplinks, connectionId = this.connectionId): number {
    this.story.add({
      type: 'UplinkReceived', connectionId, seq, service: '', payload: Buffer.from(`uplink ${seq}`), priority: 0, roomId: '',
    })
    return seq
  }

  /** The number of an uplink that never comes. */
  lost (): number { return ++this.#uplinks }

  refused (code: string, fromSeq: number, toSeq: number): void {
    const fact: UplinksRefused = {
      type: 'UplinksRefused', connectionId: this.connectionId, code, fromSeq, toSeq, count: toSeq - fromSeq + 1,
    }
    this.story.add(fact)
  }
}
