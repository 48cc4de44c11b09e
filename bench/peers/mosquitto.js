import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { spawnSync } from 'node:child_process'
import { listen } from './control.js'
import { serverCore, spawnPinned, stopChild } from './process.js'

const startMsMax = 5_000
const pollMs = 20
// Debian keeps the program where only root looks.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` }

/** Why there is no mosquitto to compare with, or undefined. */
export function mosquittoMissing () {
  return spawnSync('mosquitto', ['-h'], { env, stdio: 'ignore' }).error ? 'not installed' : undefined
}

/** mosquitto, an MQTT broker in C, with nothing stored on disk and no bound that a run could meet. */
export async function startMosquitto ({ dataDir }) {
  const port = await freePort()
  mkdirSync(dataDir, { recursive: true })
  const configuration = join(dataDir, 'mosquitto.conf')
  writeFileSync(configuration, `listener ${port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_dest none
`)
  // Node lifts its own limit of open files; a shell does it for mosquitto, and becomes it.
  const command = ['sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec mosquitto -c "$0"', configuration]
  const child = spawnPinned(serverCore, command, { env, stdio: 'ignore' })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const stop = () => stopChild(child, ended)
  if (!await accepting(port)) {
    await stop()
    throw new Error(`mosquitto did not listen within ${startMsMax} ms`)
  }
  return { pid: child.pid, collects: false, target: { port }, stop }
}

/** A loopback port that was free a moment ago: mosquitto can't be asked to choose one. */
async function freePort () {
  const server = createServer()
  const port = await listen(server)
  await new Promise(resolve => server.close(resolve))
  return port
}

async function accepting (port) {
  for (const endMs = performance.now() + startMsMax; performance.now() < endMs; await wait(pollMs)) {
    const open = await new Promise(resolve => {
      const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) })
      socket.on('error', () => resolve(false))
    })
    if (open) return true
  }
  return false
}
