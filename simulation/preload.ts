/*
  To be imported before anything else, by `--import` or in the first line of a program: from here on the process has the
  time, the randomness and the network of a simulated world, and nothing else.
*/
import { compileRoutesOnce } from './compiled-once.js'
import { replaceGlobals } from './globals.js'
import { replaceNetwork } from './network-globals.js'
import { replaceUndiciTimers } from './undici-timers.js'
import { World } from './world.js'

const { cpuUsage } = process

/**
 * Seconds of processors that this process has had, for whoever wants to know how fast a world is, and for nobody in it.
 * Unlike real time it says the same on a machine that does other things, too.
 */
export function cpuSeconds (): number {
  const { user, system } = cpuUsage()
  return (user + system) / 1e6
}

/** The world of this process: there is one, for it stands in the place of globals. */
export const world = new World()

replaceGlobals(world)
/** Who listens where, and who can reach whom. */
export const network = replaceNetwork(world)
compileRoutesOnce()
replaceUndiciTimers()
