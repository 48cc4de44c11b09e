import { execFileSync } from 'node:child_process'

interface Teardown { teardown (done: () => unknown): void }

/** One line that says what is missing for `blackHole`; false where it can be used. */
export function noFilter (): string | false {
  try {
    execFileSync('iptables', ['-w', '-L', 'INPUT', '-n'], { stdio: 'ignore' })
    return false
  } catch {
    return 'needs root and iptables: apt-get install iptables'
  }
}

/**
 * To and from these ports on loopback nothing gets through, and nobody is told: connections stay, new ones hang.
 *
 * @param urls of the listeners
 * @returns what ends it
 */
export function blackHole (t: Teardown, urls: readonly string[]): () => void {
  const ports = urls.map(url => new URL(url).port).join()
  const rules = ['--dports', '--sports'].map(side =>
    ['INPUT', '-i', 'lo', '-p', 'tcp', '-m', 'multiport', side, ports, '-j', 'DROP'])
  for (const rule of rules) execFileSync('iptables', ['-w', '-I', ...rule])
  let isOn = true
  const end = () => {
    if (isOn) for (const rule of rules) execFileSync('iptables', ['-w', '-D', ...rule])
    isOn = false
  }
  t.teardown(end)
  return end
}
