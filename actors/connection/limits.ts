/** Longest strings of a `connect`, in UTF-16 units: they are kept for as long as the session. */
export const deviceIdLengthMax = 128
export const sessionIdLengthMax = 128
export const platformLengthMax = 64
export const clientLengthMax = 128
export const userIdLengthMax = 256

/** Highest `downlinkSeq` of a `connect`: an unknown device goes on from there, and must not run out of numbers. */
export const downlinkSeqMax = 2 ** 52
