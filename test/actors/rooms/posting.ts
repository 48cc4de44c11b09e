/** What `posting-process.ts` does, for whoever looks at it afterwards. */
export const partitions = 2
export const userIds = ['ann', 'bob', 'cleo', 'dan'] as const
export const uplinksOfEach = 400

/** Two of three uplinks name one. */
export function roomOfUplink (seq: number): string { return seq % 3 === 0 ? '' : `room ${seq % 3}` }
