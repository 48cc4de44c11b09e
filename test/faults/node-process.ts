import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { SignJWT } from 'jose'

const command = fileURLToPath(new URL('../../cli/ledgerline.js', import.meta.url))

export const jwtSecret = 'a secret for the tests of faults, long enough'
export const apiKey = 'the-key-of-the-tests'

export interface LogLine { readonly level: number, readonly msg: string, readonly [field: string]: any }

export interface Exit { readonly code: number | null, readonly signal: NodeJS.Signals | null }

/** A node in a process of its own, as `ledgerline start` runs it. */
export interface NodeProcess {
  readonly http: string
  readonly tcp: string
  readonly nodeId: string
  readonly pid: number
  /** What it has logged so far. */
  readonly lines: readonly LogLine[]
  /** Resolves when the process is gone. */
  readonly exit: Promise<Exit>
  kill (signal: NodeJS.Signals): Promise<Exit>
}

export interface Failed { readonly exit: Exit, readonly lines: readonly LogLine[], readonly stderr: string }

/** What the kernel allows a process. */
export interface ProcessBounds {
  readonly descriptors?: number
}

interface Teardown { teardown (done: () => unknown): void }

/** Starts a node on `directory` and waits until it is ready. */
export async function startProcess (
  t: Teardown, directory: string, env: Record<string, string> = {}, bounds: ProcessBounds = {}
): Promise<NodeProcess> {
  const outcome = await tryProcess(t, directory, env, bounds)
  if ('http' in outcome) return outcome
  throw new Error(`the node did not start: ${JSON.stringify(outcome.exit)} ${outcome.stderr}` +
    outcome.lines.map(line => `\n${JSON.stringify(line)}`).join(''))
}

/** The same for a node that may not start. */
export async function tryProcess (
  t: Teardown, directory: string, env: Record<string, string> = {}, { descriptors }: ProcessBounds = {}
): Promise<NodeProcess | Failed> {
  const line = [process.execPath, '--enable-source-maps', command, 'start']
  // `exec`, so that signals reach the node.
  if (descriptors !== undefined) line.unshift('/bin/sh', '-c', `ulimit -n ${descriptors} && exec "$@"`, 'sh')
  const child = spawn(line[0]!, line.slice(1), {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      LEDGERLINE_DATA: directory,
      LEDGERLINE_NODE_ID: 'n1',
      LEDGERLINE_HTTP_PORT: '0',
      LEDGERLINE_TCP_PORT: '0',
      LEDGERLINE_JWT_SECRET: jwtSecret,
      LEDGERLINE_API_KEYS: apiKey,
      LEDGERLINE_FRAME_RATE: '0',
      LEDGERLINE_ACCEPT_RATE: '0',
      ...env,
    },
  })
  const kill = () => { child.kill('SIGKILL') }
  const exit = ended(child).finally(() => { process.off('exit', kill) })
  t.teardown(kill)
  process.on('exit', kill) // of a test that ran into its time limit
  const lines: LogLine[] = []
  let stderr = ''
  child.stderr!.on('data', text => { stderr += text })
  const ready = new Promise<LogLine>(resolve => {
    createInterface({ input: child.stdout! }).on('line', text => {
      const line = parsed(text)
      lines.push(line)
      if (line.msg === 'ready') resolve(line)
    })
  })
  const outcome = await Promise.race([ready, exit])
  if (!('msg' in outcome)) return { exit: outcome, lines, stderr }
  const { http, tcp, nodeId, pid } = outcome
  return {
    http,
    tcp,
    nodeId,
    pid,
    lines,
    exit,
    async kill (signal) {
      child.kill(signal)
      return await exit
    },
  }
}

async function ended (child: ChildProcess): Promise<Exit> {
  const [code, signal] = await once(child, 'close')
  return { code, signal }
}

function parsed (text: string): LogLine {
  try {
    return JSON.parse(text)
  } catch {
    return { level: 0, msg: text }
  }
}

export async function tokenFor (userId: string, claims: { readonly rooms?: object } = {}): Promise<string> {
  return await new SignJWT({ ...claims }).setProtectedHeader({ alg: 'HS256' }).setSubject(userId).setExpirationTime('1h')
    .sign(Buffer.from(jwtSecret))
}

/** A connection that was kept alive may end just as it is used again: who only asks something asks once more. */
export async function fetchFrom (url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (err) {
    const { code } = (err as { cause?: { code?: string } }).cause ?? {}
    const isCut = code === 'ECONNRESET' || code === 'UND_ERR_SOCKET'
    if (!isCut || (init.method ?? 'GET') !== 'GET') throw err
    return await fetch(url, init)
  }
}

/** A request to the HTTP side. Rejects where the node is not there to answer. */
export async function request (
  { http }: { http: string }, path: string, body?: object, method = body ? 'POST' : 'GET'
): Promise<{ status: number, body: any, text: string }> {
  const response = await fetchFrom(`${http}${path}`, {
    method,
    headers: { authorization: `Bearer ${apiKey}`, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
    signal: AbortSignal.timeout(60_000),
  })
  const text = await response.text()
  return { status: response.status, text, body: text.startsWith('{') && !text.includes('\n') ? JSON.parse(text) : undefined }
}

export interface UplinkLine {
  readonly userId: string
  readonly userSeq: number
  readonly sessionId: string
  readonly seq: number
  readonly payload: string
  readonly cursor: string
}

/** Everything that `GET /v1/uplinks` has behind a cursor. A node that can't read it just now is asked again. */
export async function readUplinks (node: { http: string }, after = ''): Promise<UplinkLine[]> {
  let text = ''
  await until(async () => {
    const answer = await request(node, `/v1/uplinks?after=${after}`)
    text = answer.text
    return answer.status !== 503
  }, 100)
  return text.split('\n').filter(line => line !== '').map(line => JSON.parse(line))
}

/** Waits until `condition` holds; the test's own time limit is the only one. */
export async function until (condition: () => unknown, everyMs = 5): Promise<void> {
  while (!await condition()) await new Promise(resolve => setTimeout(resolve, everyMs))
}

/** Numbers from 0 to 1 that a seed repeats (mulberry32). */
export function randomFrom (seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
