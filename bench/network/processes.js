import { fileURLToPath } from 'node:url'
import { once } from 'node:events'
import { loadCore, spawnPinned, stopChild } from '../peers/process.js'
import { quantile } from '../load/quantile.js'

const program = fileURLToPath(new URL('./main.js', import.meta.url))

/**
 * Starts a process with clients behind lines.
 *
 * @param {object} options what `main.js` takes
 * @returns {{ result: Promise<object>, halfway: Promise<void>, stop: () => Promise<void> }} `halfway` once half of what
 *   is sent has been
 */
export function startClients (options) {
  const child = spawnPinned(loadCore, [process.execPath, program], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const halfway = new Promise(resolve => child.on('message', message => { if (message.halfway) resolve() }))
  const answered = new Promise(resolve => child.on('message', message => { if (!message.halfway) resolve(message) }))
  const gone = once(child, 'exit').then(() => ({ error: 'the process of the clients ended' }))
  const result = Promise.race([answered, gone]).then(message => {
    if (message.error) throw new Error(message.error)
    return message.result
  })
  result.catch(() => {}) // whoever waits for it hears of it
  child.send(options)
  return { result, halfway, stop: () => stopChild(child) }
}

/** Of all processes together. @param {object[]} results as `main.js` gives them */
export function merged (results) {
  const sum = key => results.reduce((total, result) => total + result[key], 0)
  const { replaysMs, usage, ...first } = results[0]
  const figures = Object.fromEntries(Object.keys(first).map(key => [key, sum(key)]))
  return {
    ...figures,
    ...replaysMs && quantilesOf(results.flatMap(({ replaysMs }) => replaysMs)),
    deliveredShare: sum('delivered') / sum('wanted'),
    usage: usageOf(results.map(({ usage }) => usage)),
  }
}

function quantilesOf (replaysMs) {
  const sorted = replaysMs.sort((a, b) => a - b)
  return { replays: sorted.length, replayP50Ms: quantile(sorted, 0.5), replayP99Ms: quantile(sorted, 0.99) }
}

/** Each process counts what the other ones took among what others took. */
function usageOf ([first, ...others]) {
  const loadCpu = others.reduce((sum, { loadCpu }) => sum + loadCpu, first.loadCpu)
  const othersCpu = first.othersCpu === null ? null : Math.max(0, first.othersCpu - (loadCpu - first.loadCpu))
  return { ...first, loadCpu, othersCpu, loadBound: loadCpu > 0.95 }
}
