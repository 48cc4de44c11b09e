import { GatewayError } from '../schemas/errors.js'
import type { DownlinkCommand, DownlinkRecord } from '../schemas/records.js'
import {
  idWanted, isId, isTextWithin, platformBytesMax, recallService, serviceBytesMax, textWanted,
} from '../schemas/text.js'

/* What a command to send may hold, whichever door it comes by: HTTP or the stream `downlinks`. */

const dayMs = 86_400_000

/** A downlink goes to the stream `offline` after so long at most: well before the ledger is cut. */
export const offlineAfterMsMax = dayMs

export const usersMax = 1_000
export const ttlMsMax = 30 * dayMs
export const ttlMsDefault = 7 * dayMs
/** Of platforms, of devices and of devices that are left out. */
export const filterItemsMax = 100

/** What of a command is in the frame. */
type Message = Pick<DownlinkCommand, 'messageId' | 'service' | 'payload'>

/** Why a command can never be sent: `bad-request` or `payload-too-large`; undefined where it can. */
export function refusalOf (command: DownlinkRecord, frameBytesMax: number): GatewayError | undefined {
  const isPost = command.roomId !== ''
  const wrong = isPost ? wrongOfPost(command) : wrongOf(command)
  if (wrong !== undefined) return new GatewayError('bad-request', wrong)
  return isPost ? postRefusalOf(command, frameBytesMax) : contentRefusalOf(command, frameBytesMax)
}

/** The same of a command whose fields were checked by a schema made of the same rules: of what that can't say. */
export function messageRefusalOf (
  command: Omit<DownlinkCommand, 'userIds'>, frameBytesMax: number
): GatewayError | undefined {
  const wrong = wrongTogether(command)
  return wrong === undefined ? contentRefusalOf(command, frameBytesMax) : new GatewayError('bad-request', wrong)
}

/** Of its service and its size, of a command whose fields were checked, whatever chooses who gets it. */
export function contentRefusalOf (command: Message, frameBytesMax: number): GatewayError | undefined {
  if (command.service === recallService) return reservedRefusal()
  const bytes = frameBytes(command)
  if (bytes <= frameBytesMax) return undefined
  return new GatewayError('payload-too-large',
    `payload makes a downlink of ${bytes} bytes, and ${frameBytesMax} are the bound`)
}

/** The same of a post in a room. */
export function postRefusalOf (
  { roomId, messageId, service, payload }: Record<'roomId' | 'messageId' | 'service', string> & { payload: Uint8Array },
  frameBytesMax: number
): GatewayError | undefined {
  if (service === recallService) return reservedRefusal()
  // The post frame at its longest: opcode, two longs of 10 bytes, five lengths of 5, and what they count.
  const texts = Buffer.byteLength(roomId) + Buffer.byteLength(messageId) + Buffer.byteLength(service)
  const bytes = 1 + 2 * 10 + 5 * 5 + texts + payload.byteLength
  if (bytes <= frameBytesMax) return undefined
  return new GatewayError('payload-too-large', `payload makes a post of ${bytes} bytes, and ${frameBytesMax} are the bound`)
}

function wrongOf (command: DownlinkCommand): string | undefined {
  const { messageId, userIds, service, ttlMs, platforms, devices, exceptDevices, offlineAfterMs } = command
  if (userIds.length < 1 || userIds.length > usersMax) return `userIds: want 1 to ${usersMax}`
  if (new Set(userIds).size < userIds.length) return 'userIds: want each once'
  if (!userIds.every(isId)) return `userIds: ${idWanted}`
  if (!isId(messageId)) return `messageId: ${idWanted}`
  if (!isTextWithin(service, serviceBytesMax)) return `service: ${textWanted(serviceBytesMax)}`
  if (ttlMs < 1 || ttlMs > ttlMsMax) return `ttlMs: want 1 to ${ttlMsMax}`
  if (offlineAfterMs < -1 || offlineAfterMs > offlineAfterMsMax) {
    return `offlineAfterMs: want 0 to ${offlineAfterMsMax}, or -1 for what is configured`
  }
  const filters = { platforms, devices, exceptDevices }
  for (const [name, items] of Object.entries(filters)) {
    if (items.length > filterItemsMax) return `${name}: want at most ${filterItemsMax}`
  }
  if (!platforms.every(isPlatform)) return `platforms: ${textWanted(platformBytesMax)}, and none that is empty`
  if (!devices.every(isId)) return `devices: ${idWanted}`
  if (!exceptDevices.every(isId)) return `exceptDevices: ${idWanted}`
  if (command.replaces !== '' && !isId(command.replaces)) return `replaces: ${idWanted}`
  return wrongTogether(command)
}

function wrongTogether ({ messageId, delivery, replaces }: Omit<DownlinkCommand, 'userIds'>): string | undefined {
  if (replaces === '') return undefined
  if (replaces === messageId) return 'replaces: want another id than messageId'
  if (delivery === 'signal') return 'replaces: want none of a signal, which never waits'
  return undefined
}

/** Of a command that names a room: all that chooses users or their sessions contradicts it. */
function wrongOfPost (command: DownlinkRecord): string | undefined {
  const { messageId, userIds, service, roomId, platforms, devices, exceptDevices, replaces } = command
  if (replaces !== '') return 'replaces: want none beside roomId'
  for (const [name, items] of Object.entries({ userIds, platforms, devices, exceptDevices })) {
    if (items.length > 0) return `${name}: want none beside roomId`
  }
  if (!isId(roomId)) return `roomId: ${idWanted}`
  if (!isId(messageId)) return `messageId: ${idWanted}`
  if (!isTextWithin(service, serviceBytesMax)) return `service: ${textWanted(serviceBytesMax)}`
  return undefined
}

/** Devices believe what comes by this service: to none of them, in whatever way, does business send by it. */
function reservedRefusal (): GatewayError {
  return new GatewayError('bad-request', `service: ${recallService} is what the gateway itself sends with`)
}

function isPlatform (platform: string): boolean {
  return platform !== '' && isTextWithin(platform, platformBytesMax)
}

/** The downlink frame at its longest: opcode, two longs of 10 bytes, three lengths of 5, and what they count. */
function frameBytes ({ messageId, service, payload }: Message): number {
  return 1 + 2 * 10 + 3 * 5 + Buffer.byteLength(messageId) + Buffer.byteLength(service) + payload.byteLength
}
