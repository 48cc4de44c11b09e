import { type ChildProcess, spawn } from 'node:child_process'

interface Teardown { teardown (done: () => unknown): void }

/** One line, or one event, without its cursor: `hole` and `ended` tell that something is missing. */
export type StreamLine = Readonly<Record<string, any>>

interface Found { readonly cursor: string, readonly line?: StreamLine }

/** How what curl prints is cut into pieces, and what one of them says. */
const formats = {
  ndjson: { headers: [], end: '\n', parse: lineOf },
  sse: { headers: ['-H', 'Accept: text/event-stream'], end: '\n\n', parse: eventOf },
} as const

const againMs = 200

/** `curl -N`, which is run again from the last cursor wherever it ends: the node that it asks may be killed. */
export class CurlReader {
  readonly lines: StreamLine[] = []
  readonly #url: string
  readonly #key: string
  readonly #format: typeof formats[keyof typeof formats]
  #cursor = ''
  #child: ChildProcess | undefined
  #stopped = false
  runs = 0

  /** @param url of a stream, without a query */
  constructor (t: Teardown, url: string, key: string, format: keyof typeof formats) {
    this.#url = url
    this.#key = key
    this.#format = formats[format]
    t.teardown(() => {
      this.#stopped = true
      this.#child?.kill('SIGKILL')
    })
    this.#run()
  }

  #run (): void {
    if (this.#stopped) return
    this.runs++
    const { headers, end, parse } = this.#format
    const url = `${this.#url}?follow=true&after=${this.#cursor}`
    const child = spawn('curl', ['-sfN', '-H', `Authorization: Bearer ${this.#key}`, ...headers, url], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    this.#child = child
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', text => {
      const pieces = (rest + text).split(end)
      rest = pieces.pop()! // which is cut off where the node died
      for (const piece of pieces) {
        const { cursor, line } = parse(piece)
        if (cursor) this.#cursor = cursor
        if (line) this.lines.push(line)
      }
    })
    child.once('close', () => { setTimeout(() => { this.#run() }, againMs) })
  }
}

function lineOf (piece: string): Found {
  if (piece === '') return { cursor: '' }
  const { cursor, ...line } = JSON.parse(piece)
  return { cursor, line }
}

function eventOf (piece: string): Found {
  const fields = new Map(piece.split('\n').map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trimStart()]))
  const { line } = lineOf(fields.get('data') ?? '')
  return { cursor: fields.get('id') ?? '', ...line && { line } }
}
