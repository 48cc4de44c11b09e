import { readFileSync } from 'node:fs'

const clockTicksPerSecond = 100

/**
 * Starts to measure the work of both sides.
 *
 * @param {number} serverPid
 * @returns {() => Usage} ends the window
 *
 * @typedef {object} Usage All but `seconds` are shares, of one core where they are about CPU; null without a /proc.
 * @property {number} seconds how long the window really was
 * @property {number | null} serverCpu user and system time of the server, all its threads
 * @property {number} loadCpu the same of this process
 * @property {number} loadLoop time that this process's event loop was busy
 * @property {number | null} othersCpu what everything else on this machine took, of all its cores together
 * @property {boolean} loadBound whether the load generator was at its limit while the server was not
 */
export function startUsage (serverPid) {
  const startMs = performance.now()
  const server = processSeconds(serverPid)
  const all = machineSeconds()
  const own = process.cpuUsage()
  const loop = performance.eventLoopUtilization()
  return () => {
    const seconds = (performance.now() - startMs) / 1000
    const used = process.cpuUsage(own)
    const loadCpu = (used.user + used.system) / 1e6 / seconds
    const serverCpu = server === null ? null : (processSeconds(serverPid) - server) / seconds
    const allCpu = all === null ? null : (machineSeconds() - all) / seconds
    return {
      seconds,
      serverCpu,
      loadCpu,
      loadLoop: performance.eventLoopUtilization(loop).utilization,
      othersCpu: allCpu === null || serverCpu === null ? null : Math.max(0, allCpu - serverCpu - loadCpu),
      loadBound: loadCpu > 0.9 && serverCpu !== null && serverCpu < 0.9,
    }
  }
}

/** @returns {number | null} user and system time of all threads of a process, from /proc/PID/stat */
export function processSeconds (pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The program's name, in brackets, may hold spaces. utime and stime are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond
  } catch {
    return null
  }
}

/** @returns {number | null} time that all cores were not idle, time stolen by a hypervisor included */
function machineSeconds () {
  try {
    const [user, nice, system, , , irq, softirq, steal] =
      readFileSync('/proc/stat', 'latin1').split('\n', 1)[0].split(/\s+/).slice(1).map(Number)
    return (user + nice + system + irq + softirq + steal) / clockTicksPerSecond
  } catch {
    return null
  }
}
