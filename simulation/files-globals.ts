import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import { put } from './put.js'

type Work = (...args: unknown[]) => unknown
type Done = (err: unknown, value?: unknown) => void

const reading = ['readdir', 'readFile', 'stat', 'lstat', 'readlink', 'access']
const writing = ['mkdir', 'chmod', 'writeFile', 'link', 'rm']
/** With a callback only libraries use them: to find the files of a folder that they serve, say. */
const calledBack = [...reading, 'close']

/**
 * A few small files are all that a simulated node has. They are read and written at once, for an answer of the real
 * file system would come at a moment that is no event of ours. What the kernel tells of this process is not there.
 */
export function replaceFiles (): void {
  const { openSync, readFileSync } = fs
  const refuse = (path: unknown): void => {
    if (typeof path !== 'string' || !/^\/(?:proc|dev)\//.test(path)) return
    throw Object.assign(new Error(`ENOENT: not simulated, ${path}`), { code: 'ENOENT' })
  }
  put(fs, {
    openSync (...args: Parameters<typeof openSync>) { refuse(args[0]); return openSync(...args) },
    readFileSync (...args: Parameters<typeof readFileSync>) { refuse(args[0]); return readFileSync(...args) },
  })
  const atOnce = (name: string): Work => (fs as unknown as Record<string, Work>)[`${name}Sync`]!
  for (const name of [...reading, ...writing]) {
    put(fsPromises, { [name]: async (...args: unknown[]) => atOnce(name)(...args) })
  }
  for (const name of calledBack) {
    put(fs, { [name]: (...args: unknown[]) => { answer(args.pop() as Done, () => atOnce(name)(...args)) } })
  }
}

/** Before the next event, and as late as any callback comes. */
function answer (done: Done, work: () => unknown): void {
  let value: unknown
  try {
    value = work()
  } catch (err) {
    process.nextTick(done, err)
    return
  }
  process.nextTick(done, null, value)
}
