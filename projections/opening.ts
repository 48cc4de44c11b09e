import type { ConnectionEnded } from '../schemas/records.js'

/** What is known of a connection while it is open, besides its user and its id. */
export interface Opening extends Pick<ConnectionEnded, 'deviceId' | 'platform' | 'client' | 'sessionId' | 'transport' |
  'address' | 'nodeId' | 'nodeEpoch' | 'openedAtMs'> {
  resumedFrom: string
  resumedTo: string
}

/**
 * An opening in its row, without the names of its fields, which would be half of it: a node has a row of this for every
 * open connection. Within an object, for a bare array in the table is a slot of `ClosedConnections`.
 */
export interface PackedOpening { readonly opened: readonly (string | number)[] }

export function pack (opening: Opening): PackedOpening {
  const { deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch, openedAtMs } = opening
  const { resumedFrom, resumedTo } = opening
  const opened = [deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch, openedAtMs]
  // Most connections know neither, and nobody pays for what is not there.
  if (resumedFrom !== '' || resumedTo !== '') opened.push(resumedFrom)
  if (resumedTo !== '') opened.push(resumedTo)
  return { opened }
}

/** @returns undefined for any other field of the table */
export function unpack (value: unknown): Opening | undefined {
  if (typeof value !== 'object' || value === null || !('opened' in value)) return undefined
  const [deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch, openedAtMs, ...resumed] =
    (value as { opened: readonly any[] }).opened
  const [resumedFrom = '', resumedTo = ''] = resumed
  return {
    deviceId, platform, client, sessionId, transport, address, nodeId, nodeEpoch, openedAtMs, resumedFrom, resumedTo,
  }
}
