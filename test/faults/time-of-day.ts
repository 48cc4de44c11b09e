import { readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const library = readdirSync('/usr/lib', { withFileTypes: true })
  .filter(each => each.isDirectory()).map(({ name }) => join('/usr/lib', name, 'faketime'))
  .filter(path => filesOf(path).includes('libfaketime.so.1')).map(path => join(path, 'libfaketime.so.1'))[0]

/** One line that says what to install to set the time of day of single processes; false where that can be done. */
export const noFakeTime = library ? false : 'needs libfaketime: apt-get install libfaketime'

/** A time of day that processes have to themselves. Clocks that measure how long things take go on as they did. */
export class TimeOfDay {
  readonly #file: string
  #offsetMs = 0
  /** What a process needs to go by it; empty where that can't be done. */
  readonly env: Record<string, string>

  /** @param name of what goes by it, to tell it from others in this directory */
  constructor (directory: string, name: string) {
    this.#file = join(directory, `time-of-day-${name}`)
    this.env = library
      ? {
          LD_PRELOAD: library,
          FAKETIME_TIMESTAMP_FILE: this.#file,
          FAKETIME_CACHE_DURATION: '1',
          FAKETIME_DONT_FAKE_MONOTONIC: '1',
        }
      : {}
    this.jump(0)
  }

  /** From the next second on it is so much later than it was; negative for earlier. */
  jump (ms: number): void {
    this.#offsetMs += ms
    // In one step: who reads it may do so at any moment.
    writeFileSync(`${this.#file}.new`, `${this.#offsetMs < 0 ? '' : '+'}${this.#offsetMs / 1_000}`)
    renameSync(`${this.#file}.new`, this.#file)
  }
}

function filesOf (path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
