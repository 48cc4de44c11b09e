import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** One line that says what is missing for `mounted`; false where it can be used. */
export const cannotMount = canMount() ? false : 'it takes root, and the right to mount a tmpfs'

/** A small disk of its own. */
export function mounted (t: Test, options: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'ledgerline-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory])
  t.teardown(() => {
    execFileSync('umount', ['--lazy', directory])
    rmdirSync(directory)
  })
  return directory
}

/** Takes every block that is left. */
export function fillUp (file: string): void {
  try {
    for (;;) writeFileSync(file, Buffer.alloc(4096), { flag: 'a' })
  } catch {}
}

function canMount (): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'ledgerline-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', directory], { stdio: 'ignore' })
    execFileSync('umount', [directory], { stdio: 'ignore' })
    return true
  } catch {
    return false
  } finally {
    rmdirSync(directory)
  }
}
