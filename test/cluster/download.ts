import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** Where downloaded servers are kept, for all checkouts of this user. */
const cacheDirectory = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'ledgerline-test')

const dependencyPlugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1'
const run = promisify(execFile)

/** The directory of one server, `NAME-VERSION`; it is there only when all of it is. */
export function directoryOf (server: string): string {
  return join(cacheDirectory, server)
}

export function isDownloaded (server: string): boolean {
  return existsSync(directoryOf(server))
}

/** @param download fills the directory that it is given; called only where the server is not there yet */
export async function downloadOnce (server: string, download: (directory: string) => Promise<void>): Promise<void> {
  if (isDownloaded(server)) return
  await mkdir(cacheDirectory, { recursive: true })
  // Under another name until it is whole: nobody may take half of it for the server.
  const draft = await mkdtemp(join(cacheDirectory, 'draft-'))
  try {
    await download(draft)
    await rename(draft, directoryOf(server))
  } catch (err) {
    await rm(draft, { recursive: true, force: true })
    if (!isDownloaded(server)) throw err // else another download was first
  }
}

/**
 * Runs a goal of Maven's dependency plugin, for which a project is needed only where the goal asks for one.
 *
 * @param directory where it runs, and leaves notes for itself
 * @throws when Maven is missing or cannot reach its repository
 */
export async function runMaven (directory: string, goal: string, ...args: string[]): Promise<void> {
  await run('mvn', ['--quiet', '--batch-mode', `${dependencyPlugin}:${goal}`, ...args], { cwd: directory })
}

/** @throws with what it wrote when it does not end with 0 */
export async function runJava (...args: string[]): Promise<void> {
  await run('java', args)
}
