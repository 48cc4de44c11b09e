import { readFileSync } from 'node:fs'

/**
 * @param {number} pid
 * @returns {{ rssBytes: number, rssBytesMax: number, anonBytes: number }} resident, the most that was, and that without
 *   mapped files, whose pages the kernel takes back at will
 * @throws Error where there is no /proc
 */
export function memoryOf (pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const bytes = name => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? NaN)
  return { rssBytes: bytes('VmRSS'), rssBytesMax: bytes('VmHWM'), anonBytes: bytes('RssAnon') }
}
