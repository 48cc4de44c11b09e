import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { startFlags } from '../peers/ledgerline.js'
import { leaseMs } from './goals.js'

export const apiKey = 'the-key-of-the-benchmark'
export const secret = 'a secret of this run only, 32 bytes or more'

/** What the nodes are called, and do. */
export const layout = {
  e1: 'edge', e2: 'edge', u1: 'users,push', u2: 'users,push', p1: 'projections,ip-config',
}

const readyMsMax = 60_000
const stopMsMax = 15_000
const stderrLinesMax = 20

/**
 * The nodes of one cluster, each in a process of its own; no process is pinned to a core.
 *
 * @typedef {object} Node
 * @property {number} pid
 * @property {number} http port
 * @property {number} tcp port, of an edge
 * @property {(signal: NodeJS.Signals) => Promise<void>} kill resolves when it is gone
 */
export class Nodes {
  /** @type {Map<string, Node>} those that run */
  running = new Map()

  /** @param {{ program: string, dataDir: string, brokers: string[], redisUrl: string }} settings */
  constructor (settings) {
    this.settings = settings
  }

  /** @throws Error with the end of a node's standard error when it is not ready in time */
  async start (...names) {
    await Promise.all(names.map(async name => {
      this.running.set(name, await startNode(name, this.settings))
    }))
  }

  /** TCP ports of the edges that run, the same edges always in the same order. */
  get edgePorts () {
    return ['e1', 'e2'].flatMap(name => this.running.get(name)?.tcp ?? [])
  }

  /** @returns {Record<string, number[]>} process ids by what they do */
  get pids () {
    const of = (...names) => names.flatMap(name => this.running.get(name)?.pid ?? [])
    return { edges: of('e1', 'e2'), users: of('u1', 'u2'), projections: of('p1') }
  }

  /** The node is gone when this resolves; its clients have known for as long as the kernel took to tell them. */
  async kill (name) {
    const node = this.running.get(name)
    this.running.delete(name)
    await node.kill('SIGKILL')
  }

  /** @returns {Promise<string>} the body of an answer with status 200 */
  async ask (name, path, body) {
    const response = await fetch(`http://127.0.0.1:${this.running.get(name).http}${path}`, {
      method: body ? 'POST' : 'GET',
      headers: { authorization: `Bearer ${apiKey}`, ...(body ? { 'content-type': 'application/json' } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
      signal: AbortSignal.timeout(10_000),
    })
    const text = await response.text()
    if (response.status !== 200) throw new Error(`${name}: ${path}: got ${response.status}: ${text.slice(0, 200)}`)
    return text
  }

  async stop () {
    await Promise.all([...this.running.values()].map(async ({ kill }) => {
      const late = new AbortController()
      const stopped = kill('SIGTERM').finally(() => late.abort())
      await wait(stopMsMax, undefined, { signal: late.signal }).then(() => kill('SIGKILL'), () => {})
      await stopped
    }))
    this.running.clear()
  }
}

async function startNode (name, { program, dataDir, brokers, redisUrl }) {
  const child = spawn(process.execPath, [...startFlags(), program, 'start'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      KAFKA_BROKERS: brokers.join(','),
      REDIS_URL: redisUrl,
      SCHEMA_REGISTRY_URL: undefined,
      LEDGERLINE_DATA: join(dataDir, name),
      LEDGERLINE_NODE_ID: name,
      LEDGERLINE_ROLES: layout[name],
      LEDGERLINE_LEASE_MS: String(leaseMs),
      LEDGERLINE_HOST: '127.0.0.1',
      LEDGERLINE_HTTP_PORT: '0',
      LEDGERLINE_TCP_PORT: '0',
      LEDGERLINE_FRAME_RATE: '0',
      LEDGERLINE_ACCEPT_RATE: '0',
      LEDGERLINE_JWT_SECRET: secret,
      LEDGERLINE_API_KEYS: apiKey,
    },
  })
  const die = () => child.kill('SIGKILL')
  process.on('exit', die)
  const gone = new Promise(resolve => child.once('exit', resolve)).finally(() => process.off('exit', die))
  const complaints = []
  createInterface({ input: child.stderr }).on('line', line => {
    complaints.push(line)
    if (complaints.length > stderrLinesMax) complaints.shift()
  })
  const kill = async signal => {
    child.kill(signal)
    await gone
  }
  try {
    const { http, tcp, pid } = await readyLine(child, gone)
    return { pid, http: portOf(http), tcp: portOf(tcp), kill }
  } catch (err) {
    await kill('SIGKILL')
    throw new Error([`${name}: ${err.message}`, ...complaints].join('\n'), { cause: err })
  }
}

function readyLine (child, gone) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready within ${readyMsMax} ms`)), readyMsMax)
    const settle = (outcome, value) => {
      clearTimeout(timer)
      outcome(value)
    }
    gone.then(() => settle(reject, new Error(`ended with ${child.exitCode ?? child.signalCode}`)))
    // Lines after the ready one are read and dropped, or the node would block on a full pipe.
    createInterface({ input: child.stdout }).on('line', line => {
      if (line.includes('"ready"')) settle(resolve, JSON.parse(line))
    })
  })
}

/** @param {string} address as the ready line has it; empty for TCP where the node is no edge */
function portOf (address) {
  return address ? Number(/(\d+)\/?$/.exec(address)[1]) : undefined
}
