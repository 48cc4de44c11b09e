import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { goingFirst, spawnPinned, stopChild } from '../peers/process.js'

const program = fileURLToPath(new URL('./disk-probe.js', import.meta.url))

/**
 * The time of each write with its `fdatasync`, ms.
 *
 * @typedef {(write: { bytes: number, perSecond: number, windowMs: number }) => Promise<number[]>} Ask
 */

/**
 * Uses a process that measures what the disk takes by itself: see disk-probe.js.
 *
 * @template T
 * @param {string} directory on the disk in question
 * @param {number} core the one that the process has
 * @param {(ask: Ask) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withDiskProbe (directory, core, use) {
  const command = [...goingFirst, process.execPath, program, directory]
  const child = spawnPinned(core, command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  try {
    await once(child, 'message')
    return await use(async write => {
      child.send(write)
      const [taken] = await once(child, 'message')
      return taken
    })
  } finally {
    await stopChild(child)
  }
}
