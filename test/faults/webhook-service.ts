import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

export const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

export interface Taken { readonly id: string, readonly userId: string, readonly userSeq: number }

interface Teardown { teardown (done: () => unknown): void }

const program = fileURLToPath(new URL('./webhook-receiver.js', import.meta.url))

/** A service that takes uplinks by a webhook, in a process that can be killed and started again. */
export class WebhookService {
  #child: ChildProcess | undefined

  private constructor (readonly file: string, readonly port: number) {}

  static async start (t: Teardown, directory: string): Promise<WebhookService> {
    const service = new WebhookService(`${directory}/taken.ndjson`, await freePort())
    writeFileSync(service.file, '')
    t.teardown(() => service.kill())
    await service.startAgain()
    return service
  }

  get url (): string { return `http://127.0.0.1:${this.port}/` }

  async startAgain (): Promise<void> {
    this.#child = spawn(process.execPath, [program, this.file, String(this.port), secret], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(this.#child.stdout!, 'data')
  }

  async kill (): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** All that it was told, in order, with repeats. */
  taken (): Taken[] {
    return readFileSync(this.file, 'utf8').split('\n').filter(line => line !== '').map(line => JSON.parse(line))
  }

  /** The same without repeats, by user. */
  first (): Map<string, number[]> {
    const ids = new Set<string>()
    const seqs = new Map<string, number[]>()
    for (const { id, userId, userSeq } of this.taken()) {
      if (ids.has(id)) continue
      ids.add(id)
      seqs.set(userId, [...seqs.get(userId) ?? [], userSeq])
    }
    return seqs
  }
}

async function freePort (): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as { port: number }
  await new Promise(resolve => { server.close(resolve) })
  return port
}
