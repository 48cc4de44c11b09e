/* Starts an installed mosquitto, an MQTT broker in C, with nothing stored and no bound that a run could meet. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { listen } from './control.js'

const startMsMax = 5_000

const folder = mkdtempSync(join(tmpdir(), 'ledgerline-bench-mosquitto-'))
const port = await freePort()
const configuration = join(folder, 'mosquitto.conf')
writeFileSync(configuration, `listener ${port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_dest none
`)
// Node lifts its own limit of open files, a shell does it for mosquitto; Debian keeps the program in /usr/sbin.
const broker = spawn('sh', ['-c', 'ulimit -n "$(ulimit -Hn)"; exec mosquitto -c "$0"', configuration], {
  env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` }, stdio: 'ignore',
})
broker.on('exit', code => end(code ?? 0))
process.on('SIGTERM', () => broker.kill('SIGTERM'))

await accepting(port)
console.log(JSON.stringify({ msg: 'ready', pid: broker.pid, port }))

/** A loopback port that was free a moment ago: mosquitto can't be asked to choose one. */
async function freePort () {
  const server = createServer()
  const port = await listen(server)
  await new Promise(resolve => server.close(resolve))
  return port
}

async function accepting (port) {
  for (const deadline = performance.now() + startMsMax; performance.now() < deadline; await wait(20)) {
    const open = await new Promise(resolve => {
      const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) })
      socket.on('error', () => resolve(false))
    })
    if (open) return
  }
  console.error(`mosquitto did not listen within ${startMsMax} ms`)
  broker.kill('SIGKILL')
}

function end (code) {
  rmSync(folder, { recursive: true, force: true })
  process.exit(code)
}
