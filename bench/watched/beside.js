import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { loadCore, spawnPinned, stopChild } from '../peers/process.js'

/**
 * Starts a program of this folder on the core of the load, and waits for the one line of JSON that it tells.
 *
 * @param {string} name
 * @param {string[]} [args]
 * @returns {Promise<{ told: object, stop: () => Promise<void> }>}
 * @throws Error where it ends before
 */
export async function startBeside (name, args = []) {
  const program = fileURLToPath(new URL(name, import.meta.url))
  const child = spawnPinned(loadCore, [process.execPath, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const line = new Promise(resolve => createInterface({ input: child.stdout }).once('line', resolve))
  const gone = ended.then(code => { throw new Error(`${name} ended with ${code}`) })
  gone.catch(() => {})
  const told = JSON.parse(await Promise.race([line, gone]))
  return { told, stop: () => stopChild(child, ended) }
}
