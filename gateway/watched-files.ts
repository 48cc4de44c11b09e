import { statSync } from 'node:fs'

/** Two writes within one tick of a file system's clock look like one. */
const clockTickMs = 2_000

/** What each of some files holds; undefined for one that there need not be. */
export type Texts = ReadonlyArray<string | undefined>

export function isSame (some: Texts, others: Texts): boolean {
  return some.every((text, i) => text === others[i])
}

export interface WatchedFiles<T extends Texts> {
  readonly paths: readonly string[]
  /** How often they are looked at. */
  readonly everyMs: number
  /** @throws ConfigError naming the variable of a file that can't be read */
  read (): T
  /**
   * Uses what is new.
   *
   * @throws ConfigError where a file does not hold what it should: what was taken last must be in use then
   */
  take (texts: T): void
  /** Called after each look. @param trouble why what was taken last stays in use; empty where all is well */
  looked (trouble: string): void
}

/**
 * Has what some files hold taken: now, whenever they change, and at SIGHUP.
 *
 * @returns what ends it
 * @throws ConfigError as `read` and `take` do, for what the files hold now
 */
export function watchFiles<T extends Texts> ({ paths, everyMs, read, take, looked }: WatchedFiles<T>): () => void {
  let known = read()
  take(known)
  let seen = ''
  const readAgain = (): void => {
    const now = read()
    if (isSame(now, known)) return
    take(now)
    known = now
  }
  const look = (): void => {
    let trouble = ''
    try {
      const { stamp, isRecent } = stampOf(paths)
      if (stamp !== seen || isRecent) readAgain()
      seen = stamp
    } catch (err) {
      seen = ''
      trouble = (err as Error).message
    }
    looked(trouble)
  }
  const lookAnew = (): void => {
    seen = ''
    look()
  }
  const timer = setInterval(look, everyMs).unref()
  if (looksAnew.size === 0) process.on('SIGHUP', lookAtAll)
  looksAnew.add(lookAnew)
  return () => {
    clearInterval(timer)
    looksAnew.delete(lookAnew)
    if (looksAnew.size === 0) process.off('SIGHUP', lookAtAll)
  }
}

/** At SIGHUP: one listener for all, for Node.js takes more than ten for a leak, and warns. */
const looksAnew = new Set<() => void>()

function lookAtAll (): void { for (const look of looksAnew) look() }

/** Of the files that are there now; `isRecent` where one may change once more without another stamp. */
function stampOf (paths: readonly string[]): { stamp: string, isRecent: boolean } {
  const stats = paths.map(path => statSync(path, { throwIfNoEntry: false }))
  return {
    stamp: stats.map(stat => stat === undefined ? '-' : `${stat.ino} ${stat.size} ${stat.ctimeMs}`).join(),
    isRecent: stats.some(stat => stat !== undefined && Math.abs(Date.now() - stat.ctimeMs) < clockTickMs),
  }
}
