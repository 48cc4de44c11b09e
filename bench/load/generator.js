import { fileURLToPath } from 'node:url'
import { loadCore, spawnPinned, stopChild } from '../peers/process.js'

const program = fileURLToPath(new URL('./main.js', import.meta.url))
const answerMsMax = 120_000
export const payloadBytes = 120

/**
 * Starts a load generator for one run.
 *
 * @param {object} setup `protocol`, `target` and the protocol's own options
 * @param {{ before?: string[], core?: number }} [options] what the program is started with, such as `nice`, and where
 * @returns {Promise<Generator>}
 *
 * @typedef {object} Generator
 * @property {number} pid
 * @property {(command: string, options?: object) => Promise<any>} ask rejects with what went wrong on a connection
 * @property {() => Promise<void>} stop
 */
export async function startGenerator (setup, { before = [], core = loadCore } = {}) {
  const child = spawnPinned(core, [...before, process.execPath, program], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const ask = async (command, options = {}) => {
    child.send({ command, ...options })
    return answer(child, ended, command)
  }
  await ask('setup', { payloadBytes, ...setup })
  return { pid: child.pid, ask, stop: () => stopChild(child, ended) }
}

async function answer (child, ended, command) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer to ${command} within ${answerMsMax} ms`)), answerMsMax)
  })
  const message = new Promise(resolve => child.once('message', resolve))
  const gone = ended.then(code => { throw new Error(`the load generator ended with ${code}`) })
  gone.catch(() => {})
  try {
    const { result, error } = await Promise.race([message, gone, late])
    if (error) throw new Error(error)
    return result
  } finally {
    clearTimeout(timer)
  }
}
