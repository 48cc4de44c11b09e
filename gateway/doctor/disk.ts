import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Finding, Findings } from './finding.js'

const mebibyte = 1 << 20
const freeBytesMin = 1 << 30
const freeShareMin = 0.1

/** Magic numbers of statfs(2): what is behind a network, where neither locks nor a memory map can be relied on. */
const networkFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'], [0xff534d42, 'CIFS'], [0xfe534d42, 'SMB2'], [0x517b, 'SMB'], [0x00c36400, 'Ceph'],
  [0x01021997, '9P'], [0x5346414f, 'AFS'],
])

/** Magic numbers of what is gone when the machine restarts. */
const memoryFileSystems: ReadonlyMap<number, string> = new Map([[0x01021994, 'tmpfs'], [0x858458f6, 'ramfs']])

/** Looks at the disk of the embedded log, whether the directory is there yet or not. */
export function diskFindings (dataDir: string): Finding[] {
  const findings = new Findings('disk')
  const there = nearest(dataDir)
  const { type, bavail, blocks, bsize } = statfsSync(there)
  findings.judge('data directory', `${dataDir}${there === dataDir ? '' : ', not there yet'}`, isWritable(there), {
    verdict: 'fatal',
    wanted: 'a directory that this user may write',
    why: 'The ledger is kept in it.',
    fix: 'chown it, or name another with LEDGERLINE_DATA',
  })
  const network = networkFileSystems.get(type)
  const memory = memoryFileSystems.get(type)
  findings.judge('file system', network ?? memory ?? 'local', network === undefined && memory === undefined, {
    verdict: network === undefined ? 'warning' : 'fatal',
    wanted: 'a local one on a disk',
    why: network === undefined
      ? 'What is in memory only is lost when the machine restarts.'
      : 'The log maps its file into memory and locks it: over a network that damages it.',
    fix: 'LEDGERLINE_DATA=/a/directory/on/a/local/disk',
  })
  const free = bavail * bsize
  const least = Math.min(freeBytesMin, blocks * bsize * freeShareMin)
  findings.judge('free room', `${Math.floor(free / mebibyte)} MiB`, free >= least, {
    wanted: `at least ${Math.ceil(least / mebibyte)} MiB`,
    why: 'On a full disk uplinks are refused until retention has deleted something.',
    fix: 'free some, or keep less: LEDGERLINE_RETENTION_BYTES, LEDGERLINE_RETENTION_MS',
  })
  return findings.all
}

function nearest (path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearest(dirname(path))
}

function isWritable (path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
