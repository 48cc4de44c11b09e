/*
  Says which functions of a CPU profile took the most time themselves.

    node profile.js FILE.cpuprofile [...]
*/
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'

const functionsShown = 30
const notWork = new Set(['(idle)', '(root)'])

/** Prints every profile that the runs left under `directory`. */
export function printProfile (directory) {
  for (const folder of readdirSync(directory).filter(name => name.endsWith('.profile')).sort()) {
    for (const file of readdirSync(join(directory, folder)).filter(name => name.endsWith('.cpuprofile'))) {
      console.log(`\n${folder.replace('.profile', '')}`)
      print(join(directory, folder, file))
    }
  }
}

function print (path) {
  const { busyMs, functions } = selfTimes(JSON.parse(readFileSync(path, 'utf8')))
  console.log(`  busy ${(busyMs / 1000).toFixed(2)} s`)
  for (const { name, selfMs } of functions.slice(0, functionsShown)) {
    console.log(`  ${(100 * selfMs / busyMs).toFixed(1).padStart(5)} %  ${name}`)
  }
}

/**
 * @param {{ nodes: object[], samples: number[], timeDeltas: number[] }} profile as V8 writes it, times in microseconds
 * @returns {{ busyMs: number, functions: { name: string, selfMs: number }[] }} highest first, without idle time
 */
export function selfTimes ({ nodes, samples, timeDeltas }) {
  const nameOf = new Map(nodes.map(({ id, callFrame }) => [id, functionName(callFrame)]))
  const selfMs = new Map()
  let busyMs = 0
  for (let i = 0; i < samples.length; i++) {
    const name = nameOf.get(samples[i])
    if (notWork.has(name)) continue
    // A sample's delta is the time since the one before it; V8 may write a small negative one.
    const ms = Math.max(0, timeDeltas[i + 1] ?? 0) / 1000
    busyMs += ms
    selfMs.set(name, (selfMs.get(name) ?? 0) + ms)
  }
  const functions = [...selfMs].map(([name, selfMs]) => ({ name, selfMs })).sort((a, b) => b.selfMs - a.selfMs)
  return { busyMs, functions }
}

function functionName ({ functionName, url, lineNumber }) {
  if (url === '') return functionName || '(native)'
  const file = url.replace(/^file:\/\//, '').split(/\/(?=dist\/|node_modules\/)/).at(-1)
  return `${functionName || '(anonymous)'}  ${file}:${lineNumber + 1}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const path of process.argv.slice(2)) {
    if (existsSync(path)) print(path)
    else console.error(`no such file: ${path}`)
  }
}
