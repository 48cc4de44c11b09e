import type { Random } from '../random.js'
import { noDiskTrouble, type SimulatedDisk } from './disk.js'

/** Whose disk it is that has faults. */
export interface DiskVictims { readonly disk: SimulatedDisk }

/** What may happen to the disk of a node that keeps everything by itself. */
export const diskFaults = {
  /** It has no room for a longer file. */
  full ({ disk }: DiskVictims, random: Random) {
    disk.trouble = { ...disk.trouble, isFull: true }
    return { ms: random.between(2_000, 40_000), end: () => { disk.trouble = noDiskTrouble } }
  },

  /** Commits take long. */
  slow ({ disk }: DiskVictims, random: Random) {
    disk.trouble = { ...disk.trouble, commitMs: random.chance(0.5) ? [20, 300] : [200, 4_000] }
    return { ms: random.between(1_000, 20_000), end: () => { disk.trouble = noDiskTrouble } }
  },

  /** Some commits fail, and leave nothing; a disk that tries for long takes as long over each. */
  commits ({ disk }: DiskVictims, random: Random) {
    const commitMs = random.pick([noDiskTrouble.commitMs, [20, 300], [200, 2_000]] as const)
    disk.trouble = { ...disk.trouble, commitMs, failed: random.between(0.05, 0.6) }
    return { ms: random.between(500, 15_000), end: () => { disk.trouble = noDiskTrouble } }
  },
}
