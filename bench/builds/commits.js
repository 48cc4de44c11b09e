import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const preload = new URL('./commit-recorder.js', import.meta.url).href
const memory = '/dev/shm'
/** The recorder writes every 200 ms. */
const flushedMs = 500
/** What must come sooner or later comes later on a machine that has much to do. */
const lateMsMax = 60_000

/**
 * Records the commits of a gateway's store, see commit-recorder.js.
 *
 * @template T
 * @param {(recorded: Recorded) => Promise<T>} use starts a gateway with `env` and `serverFlags`
 * @returns {Promise<T>}
 *
 * @typedef {object} Recorded
 * @property {object} env
 * @property {string[]} serverFlags
 * @property {(atMs: number, wanted?: (commit: Commit) => boolean) => Promise<Commit[]>} since what was committed from
 *   `atMs` (of `Date.now`) until now, or until the first commit that is `wanted`: any, where it is left out
 *
 * @typedef {{ atMs: number, puts: Record<string, number>, bytes: Record<string, number> }} Commit
 */
export async function recordingCommits (use) {
  const directory = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'ledgerline-bench-'))
  const file = join(directory, 'commits')
  const recorded = atMs => {
    if (!existsSync(file)) return []
    return readFileSync(file, 'utf8').split('\n').slice(0, -1).map(line => JSON.parse(line))
      .filter(commit => commit.atMs >= atMs)
  }
  const since = async (atMs, wanted = () => true) => {
    for (const end = Date.now() + lateMsMax; ;) {
      await wait(flushedMs)
      const commits = recorded(atMs)
      if (commits.some(wanted) || Date.now() > end) return commits
    }
  }
  try {
    return await use({ env: { BENCH_COMMITS: file }, serverFlags: ['--import', preload], since })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
