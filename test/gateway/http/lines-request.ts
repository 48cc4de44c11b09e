import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'

/** A request whose body is lines, and whose answer is lines: they come while it is being sent. */
export interface LinesRequest {
  readonly request: ClientRequest
  /** What has come so far, each line as what it says, but for those of progress: they come by the clock. */
  readonly answered: any[]
  readonly progress: any[]
  /** Resolves at the end of the answer. */
  readonly done: Promise<{ readonly status: number, readonly answered: any[] }>
}

/** @param url with the path; nothing of the body is sent yet */
export function beginLines (url: string, key: string): LinesRequest {
  const sent = request(url, {
    method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/x-ndjson' },
  })
  const answered: any[] = []
  const progress: any[] = []
  const take = (line: string) => {
    if (line === '') return
    const said = JSON.parse(line)
    if (said.progress) progress.push(said.progress)
    else answered.push(said)
  }
  const done = (async () => {
    const [response] = await once(sent, 'response') as [IncomingMessage]
    let rest = ''
    for await (const part of response.setEncoding('utf8')) {
      const lines = `${rest}${part}`.split('\n')
      rest = lines.pop()!
      lines.forEach(take)
    }
    take(rest)
    return { status: response.statusCode!, answered }
  })()
  done.catch(() => {}) // whoever waits for it sees it
  return { request: sent, answered, progress, done }
}

/** Sends it all, as fast as it is taken. */
export async function sendLines (url: string, key: string, lines: Iterable<string>) {
  const { request: sent, done } = beginLines(url, key)
  let piece = ''
  for (const line of lines) {
    piece += `${line}\n`
    if (piece.length < 65_536) continue
    if (!sent.write(piece)) await Promise.race([once(sent, 'drain'), done])
    piece = ''
  }
  sent.end(piece)
  return await done
}
