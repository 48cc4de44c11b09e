/*
  What TLS costs on the TCP port, beside a TLS server of Node that does nothing else: processor time of a handshake, and
  memory of an idle connection over that of a plain one.

    npm run bench:tls -- [--handshakes 3000] [--connections 2000] [--rounds 3]

  Handshakes are whole ones with a P-256 key, 32 at a time. Every server is a process of its own on core 0, all of them
  in turns. The load works more than the server, so it is the server's processor time that is compared.
*/
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SignJWT } from 'jose'
import { memoryAtRest } from './measure/idle.js'
import { startFlags, startLedgerline } from './peers/ledgerline.js'
import { serverFlags, startServer } from './peers/process.js'

const [{ startProgress }, { encodeFrame }] = await Promise.all([
  import('../dist/cli/progress.js'), import('../dist/schemas/frame-codec.js'),
])
const { values } = parseArgs({
  options: {
    handshakes: { type: 'string', default: '3000' },
    connections: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '3' },
  },
})
const [handshakes, connections, rounds] = [values.handshakes, values.connections, values.rounds].map(Number)
const atOnce = 32
const settleMs = 4_000
const ticksPerSecond = 100
/** As long as a `connect`: a connection that has carried something keeps more than one that has not. */
const hello = Buffer.alloc(150)

const directory = mkdtempSync(join(tmpdir(), 'ledgerline-bench-tls-'))
process.on('exit', () => { rmSync(directory, { recursive: true, force: true }) })
const [cert, key] = [join(directory, 'tls.crt'), join(directory, 'tls.key')]
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
  '-subj', '/CN=localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' })
const ca = readFileSync(cert)
const program = fileURLToPath(new URL('../dist/cli/ledgerline.js', import.meta.url))

const kinds = ['Ledgerline', 'bare Node'].flatMap(name => [true, false].map(tls => ({ name, tls })))
const plan = Array.from({ length: rounds }, () => kinds).flat()
const found = new Map(kinds.map(kind => [kind, []]))
const progress = startProgress({ label: 'cost of TLS', total: plan.length, unit: 'servers' })
for (const kind of plan) {
  found.get(kind).push(await measure(kind))
  progress.add(1)
}
progress.end()

const median = numbers => numbers.sort((a, b) => a - b)[numbers.length >> 1]
const of = (name, tls) => found.get(kinds.find(kind => kind.name === name && kind.tls === tls))
const handshakeUs = name => median(of(name, true).map(({ us }) => us))
const bytes = (name, tls) => median(of(name, tls).map(({ bytesEach }) => bytesEach))
const row = (...cells) => console.log(cells[0].padEnd(34) + cells.slice(1).map(cell => String(cell).padStart(16)).join(''))
row('', 'Ledgerline', 'bare Node', 'ratio', 'goal')
const [ours, bare] = [handshakeUs('Ledgerline'), handshakeUs('bare Node')]
row('server CPU a handshake, us', ours.toFixed(0), bare.toFixed(0), `${(bare / ours).toFixed(2)} x`, '>= 0.9 x')
const over = name => bytes(name, true) - bytes(name, false)
row('idle connection, plain, bytes', bytes('Ledgerline', false), bytes('bare Node', false))
row('idle connection, TLS, bytes', bytes('Ledgerline', true), bytes('bare Node', true))
const ratio = over('Ledgerline') / over('bare Node')
row('TLS over plain, bytes', over('Ledgerline'), over('bare Node'), `${ratio.toFixed(2)} x`, '<= 1.3 x')

async function measure ({ name, tls }) {
  const server = name === 'Ledgerline'
    ? await startLedgerline('tcp')({
      program, serverFlags: [], dataDir: mkdtempSync(join(directory, 'data-')), env: tls ? { LEDGERLINE_TLS_CERT: cert, LEDGERLINE_TLS_KEY: key } : {},
    })
    : await startBare(tls)
  const { pid, target } = server
  try {
    const us = tls ? await handshakeCost(pid, target.port) : undefined
    const some = await open(target, tls, name === 'Ledgerline', 0, connections / 4)
    const before = await memoryAtRest(server, settleMs)
    const others = await open(target, tls, name === 'Ledgerline', some.length, connections)
    const after = await memoryAtRest(server, settleMs)
    for (const socket of [...some, ...others]) socket.destroy()
    return { us, bytesEach: Math.round((after.rssBytes - before.rssBytes) / others.length) }
  } finally {
    await server.stop()
  }
}

async function startBare (tls) {
  const file = fileURLToPath(new URL('tls/bare.js', import.meta.url))
  const flags = [...startFlags(), ...serverFlags({ serverFlags: [] })]
  const { ready, stop } = await startServer([process.execPath, ...flags, file, ...tls ? [cert, key] : []])
  return { pid: ready.pid, collects: true, target: { port: Number(new URL(ready.tcp).port) }, stop }
}

async function handshakeCost (pid, port) {
  await shake(port, 200) // until it is compiled
  const before = cpuTicks(pid)
  await shake(port, handshakes)
  return 1e6 * (cpuTicks(pid) - before) / ticksPerSecond / handshakes
}

async function shake (port, count) {
  let left = count
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left-- > 0) (await opened({ port }, true)).destroy()
  }))
}

/** @param first number of the first user */
async function open (target, tls, speaks, first, count) {
  const sockets = []
  while (sockets.length < count) {
    const some = await Promise.all(Array.from({ length: atOnce }, () => opened(target, tls)))
    const from = first + sockets.length
    for (const [i, socket] of some.entries()) socket.write(speaks ? await connectFrame(target, from + i) : hello)
    sockets.push(...some)
  }
  return sockets
}

function opened ({ port }, tls) {
  return new Promise((resolve, reject) => {
    const to = { host: '127.0.0.1', port }
    const socket = tls ? connectTls({ ...to, ca, servername: 'localhost' }) : connect(to)
    socket.once(tls ? 'secureConnect' : 'connect', () => { resolve(socket) }).once('error', reject).resume()
  })
}

async function connectFrame ({ secret }, i) {
  const token = await new SignJWT({ sub: `user ${i}` }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret))
  const frame = { op: 'connect', token, deviceId: 'd', sessionId: 's', platform: '', client: '', downlinkSeq: 0 }
  const bytes = Buffer.alloc(1_024)
  const end = encodeFrame(frame, bytes, 4)
  bytes.writeUInt32BE(end - 4, 0)
  return bytes.subarray(0, end)
}

/** Processor time of the process, of all of its threads. */
function cpuTicks (pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ')
  return Number(fields[11]) + Number(fields[12])
}
