import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { userInWords } from '../../schemas/apps.js'
import type { HistoryFormat } from './formats.js'
import { connectionHistory } from './streams.js'

/** What a directory holds, and how far of the stream that is. */
export interface DirectoryState {
  readonly version: 1
  readonly stream: string
  readonly format: HistoryFormat
  /** Of this app's users alone; absent for those of all. */
  readonly app?: string
  /** The user's key; absent for all users. */
  readonly userId?: string
  /** Rows of what happened earlier are left out, for the whole life of the directory. */
  readonly sinceMs?: number
  /** By partition: the first block that is not in it. */
  readonly next: Readonly<Record<string, string>>
  /** Of the whole directory. */
  readonly rows: number
  /** Files that belong to it under a name that may be their draft's still. */
  readonly drafts: readonly Draft[]
}

/** Earlier versions knew of `connections` alone, and named no stream. */
type Stored = Omit<DirectoryState, 'stream'> & Partial<Pick<DirectoryState, 'stream'>>

export interface Draft { readonly draft: string, readonly path: string }

/** The directory has something else in it: another stream, other users, or another format. */
export class OtherExport extends Error {
  override readonly name = 'OtherExport'
}

const stateName = '_ledgerline.json'
const draftPrefix = '_draft-'

export function draftName (date: string, name: string): string {
  return `${draftPrefix}${date}-${name}`
}

/**
 * The state that the directory was left in, with everything in its place that belongs to it and nothing else; a new one
 * where there is none.
 *
 * @throws OtherExport when it is of another stream, format or user
 */
export async function openDirectory (
  directory: string, wanted: Omit<DirectoryState, 'version' | 'next' | 'rows' | 'drafts'>
): Promise<DirectoryState> {
  await mkdir(directory, { recursive: true })
  const state = await readState(directory)
  if (state && !(['stream', 'format', 'app', 'userId'] as const).every(name => state[name] === wanted[name])) {
    const all = state.app === undefined ? 'all users' : `all users of the app ${state.app}`
    const whose = state.userId === undefined ? all : `user ${userInWords(state.userId)}`
    const what = `${state.stream} of ${whose} in it, as ${state.format}`
    throw new OtherExport(`${directory}: it has ${what}; give another directory`)
  }
  if (state) await placeDrafts(directory, state.drafts)
  for (const name of await readdir(directory)) if (name.startsWith(draftPrefix)) await rm(join(directory, name))
  if (state) return state
  const first: DirectoryState = { version: 1, ...wanted, next: {}, rows: 0, drafts: [] }
  await writeState(directory, first)
  return first
}

/** Replaces the state in one step, then gives its drafts their names. */
export async function commitState (directory: string, state: DirectoryState): Promise<void> {
  await writeState(directory, state)
  await placeDrafts(directory, state.drafts)
}

async function readState (directory: string): Promise<DirectoryState | undefined> {
  const path = join(directory, stateName)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw err
  }
  const { stream = connectionHistory.stream.name, ...state } = JSON.parse(text) as Stored
  if (state.version !== 1) throw new OtherExport(`${path}: got version ${state.version}, want 1`)
  return { ...state, stream }
}

async function writeState (directory: string, state: DirectoryState): Promise<void> {
  const path = join(directory, stateName)
  const file = await open(`${path}.new`, 'w')
  try {
    await file.writeFile(`${JSON.stringify(state, undefined, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}

/** Those that have their names already keep them. */
async function placeDrafts (directory: string, drafts: readonly Draft[]): Promise<void> {
  for (const { draft, path } of drafts) {
    await mkdir(join(directory, dirname(path)), { recursive: true })
    try {
      await rename(join(directory, draft), join(directory, path))
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err
    }
  }
}
