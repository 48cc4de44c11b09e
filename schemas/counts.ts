import type { ConnectionClosed } from './facts.js'

/*
  What a connection's edge counts, and who says so when that edge is gone. In facts and records -1 stands for a number
  that nobody knows; what is shown to people or exported has null in its place.
*/

export const unknownCount = -1

/** What only the edge of a connection counts. `roundTripMs` is not among them: its -1 says "none" as well. */
export const countNames = [
  'writtenSeq', 'ackedSeq', 'framesIn', 'framesOut', 'bytesIn', 'bytesOut', 'uplinks', 'downlinksWritten',
  'downlinksAcked',
] as const satisfies ReadonlyArray<keyof ConnectionClosed>

export type CountName = typeof countNames[number]

/** The counts of an end that is told by somebody else than the connection's edge. */
export const unknownCounts: Readonly<Record<CountName | 'roundTripMs', number>> = {
  writtenSeq: unknownCount,
  ackedSeq: unknownCount,
  framesIn: unknownCount,
  framesOut: unknownCount,
  bytesIn: unknownCount,
  bytesOut: unknownCount,
  uplinks: unknownCount,
  downlinksWritten: unknownCount,
  downlinksAcked: unknownCount,
  roundTripMs: unknownCount,
}

/**
 * Earlier versions wrote zeros for all that they did not know of a connection whose node was lost. No edge counts zero
 * frames, for a connection opens with one.
 */
export function hasZerosForUnknown ({ code, framesIn }: Pick<ConnectionClosed, 'code' | 'framesIn'>): boolean {
  return code === 'node-lost' && framesIn === 0
}

/** Nobody who tells of this end has counted anything. */
export function isUncounted (end: Pick<ConnectionClosed, 'code' | 'framesIn'>): boolean {
  return end.framesIn < 0 || hasZerosForUnknown(end)
}
