/** Highest `downlinkSeq` of a `connect`: an unknown device goes on from there, and must not run out of numbers. */
export const downlinkSeqMax = 2 ** 52
