import { cpus, release, totalmem } from 'node:os'
import { statfsSync } from 'node:fs'
import { pinned } from '../peers/process.js'

const fileSystems = new Map([[0xef53, 'ext'], [0x01021994, 'tmpfs'], [0x58465342, 'xfs'], [0x9123683e, 'btrfs'],
  [0x794c7630, 'overlayfs'], [0x2fc12fc1, 'zfs']])

/** What figures depend on. @param {string} temporary where the data directories are */
export function machine (temporary) {
  const { type } = statfsSync(temporary)
  return {
    atMs: Date.now(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${release()}`,
    node: process.version,
    pinned,
    temporaryFileSystem: fileSystems.get(type) ?? `type 0x${type.toString(16)}`,
  }
}
