/*
  To be imported before anything else, by `--import` or in the first line of a program: from here on the process has the
  time, the randomness and the network of a simulated world, and nothing else.
*/
import { replaceGlobals } from './globals.js'
import { replaceNetwork } from './network-globals.js'
import { World } from './world.js'

const realNs = process.hrtime.bigint
const startedNs = realNs()

/** Ms of real time since the process began: for whoever wants to know how fast a world is, and for nobody in it. */
export function realMs (): number { return Number(realNs() - startedNs) / 1e6 }

/** The world of this process: there is one, for it stands in the place of globals. */
export const world = new World()

replaceGlobals(world)
/** Who listens where, and who can reach whom. */
export const network = replaceNetwork(world)
