import { readFileSync } from 'node:fs'

const clockTicksPerSecond = 100

/** @returns {Record<string, number[]>} the processes that run for the benchmark, by what they do */
export function pidsOf ({ nodes, servers }) {
  return { ...nodes?.pids, ...servers?.pids, load: [process.pid] }
}

/**
 * Starts to measure who works how much.
 *
 * @param {Record<string, number[]>} pids by what the processes do; they run until the end
 * @returns {() => Record<string, number>} ends the window: shares of one core by what the processes do, and as `others`
 *   what everything else took of all cores together; empty without a /proc
 */
export function startShares (pids) {
  const before = read(pids)
  if (!before) return () => ({})
  return () => {
    const after = read(pids)
    const seconds = (after.atMs - before.atMs) / 1000
    const shares = {}
    let known = 0
    for (const name of Object.keys(pids)) {
      shares[name] = (after.seconds[name] - before.seconds[name]) / seconds
      known += shares[name]
    }
    shares.others = Math.max(0, (after.all - before.all) / seconds - known)
    return shares
  }
}

function read (pids) {
  try {
    const seconds = {}
    for (const [name, list] of Object.entries(pids)) {
      seconds[name] = list.reduce((sum, pid) => sum + secondsOf(pid), 0)
    }
    const [user, nice, system, , , irq, softirq, steal] =
      readFileSync('/proc/stat', 'latin1').split('\n', 1)[0].split(/\s+/).slice(1).map(Number)
    const all = (user + nice + system + irq + softirq + steal) / clockTicksPerSecond
    return { atMs: performance.now(), seconds, all }
  } catch {
    return undefined
  }
}

/** User and system time of all threads of a process: fields 14 and 15, after the name in brackets. */
function secondsOf (pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond
}
