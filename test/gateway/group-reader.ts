import { get, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { once } from 'node:events'

export interface GroupLine {
  readonly cursor: string
  readonly roomId: string
  readonly roomSeq: number
  readonly hole?: object
  readonly ended?: { readonly code: string }
}

/** A service that reads posts in a group, written with nothing but Node. */
export class GroupReaderClient {
  readonly lines: GroupLine[] = []
  readonly gone: Promise<unknown>
  readonly #response: IncomingMessage

  private constructor (readonly api: string, readonly group: string, readonly key: string, response: IncomingMessage) {
    this.#response = response
    this.gone = new Promise(resolve => { response.once('close', resolve) })
    response.on('error', () => {})
    createInterface({ input: response }).on('error', () => {}).on('line', line => {
      if (line !== '') this.lines.push(JSON.parse(line))
    })
  }

  static async open (
    t: { teardown (done: () => unknown): void }, api: string, group: string,
    { key = 'the-key-of-a-test-node', query = '' } = {}
  ): Promise<GroupReaderClient> {
    const headers = { authorization: `Bearer ${key}` }
    const request = get(`${api}/v1/streams/posts?group=${group}${query}`, { headers })
    request.on('error', () => {})
    t.teardown(() => request.destroy())
    const [response] = await once(request, 'response') as [IncomingMessage]
    if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${(await response.toArray()).join('')}`)
    return new GroupReaderClient(api, group, key, response)
  }

  get posts (): string[] {
    return this.lines.filter(line => line.cursor).map(({ roomId, roomSeq }) => `${roomId}/${roomSeq}`)
  }

  leave (): void { this.#response.destroy() }

  /** @param api where to; by default where it reads */
  async ack (cursors: readonly string[], api = this.api): Promise<Array<{ status: string, code?: string }>> {
    const response = await fetch(`${api}/v1/groups/${this.group}/acks`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ cursors }),
    })
    const answer: any = await response.json()
    if (response.status !== 200) throw new Error(`${answer.code}: ${answer.message}`)
    return answer.acks
  }

  /** All that it has. */
  ackAll (): Promise<Array<{ status: string, code?: string }>> {
    return this.ack(this.lines.filter(line => line.cursor).map(({ cursor }) => cursor))
  }
}
