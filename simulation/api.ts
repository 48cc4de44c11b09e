import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Host } from './world.js'

/** Where a node takes requests. */
export interface Address { readonly address: string, readonly port: number }

/** `status` is 0 where nobody answered, or not in time. */
export interface Answer { readonly status: number, readonly text: string }

const nobody: Answer = { status: 0, text: '' }

/** How long an answer is waited for, ms. */
const answerMsMax = 5_000

/** Somebody with an API key, on a host. */
export class Api {
  /** Some requests go over connections that are open already, as those of most services do. */
  readonly #agent = new Agent({ keepAlive: true })

  constructor (readonly host: Host, readonly apiKey: string) {}

  async ask (
    to: Address, method: string, path: string, body?: object, withinMs = answerMsMax
  ): Promise<Answer> {
    return await this.host.as(async () => await new Promise<Answer>(resolve => {
      const giveUp = new AbortController()
      const cancel = this.host.later(withinMs, 'waits no longer', () => { giveUp.abort() })
      const asking = request({
        host: to.address,
        port: to.port,
        method,
        path,
        agent: this.host.random.chance(0.7) && this.#agent,
        headers: {
          authorization: `Bearer ${this.apiKey}`,
          ...body === undefined ? {} : { 'content-type': 'application/json' },
        },
        signal: giveUp.signal,
      })
      const over = (answer: Answer): void => {
        cancel()
        resolve(answer)
      }
      const failed = (): void => { over(nobody) }
      asking.on('error', failed)
      asking.on('response', response => {
        text(response).then(answer => { over({ status: response.statusCode!, text: answer }) }, failed)
      })
      asking.end(body === undefined ? undefined : JSON.stringify(body))
    }))
  }

  /**
   * Reads lines until there are no more, or none has come for `silentMs`.
   *
   * @param take is given each line that is not empty
   * @param signal ends it, whatever comes
   * @returns the status; 0 where nobody answered
   */
  async lines (
    to: Address, path: string, silentMs: number, take: (line: string) => void, signal?: AbortSignal
  ): Promise<number> {
    return await this.host.as(async () => await new Promise<number>(resolve => {
      const giveUp = new AbortController()
      signal?.addEventListener('abort', () => { giveUp.abort() }, { once: true })
      let status = 0
      let cancel = (): void => {}
      const heard = (): void => {
        cancel()
        cancel = this.host.later(silentMs, 'hears nothing', () => { giveUp.abort() })
      }
      const over = (): void => {
        cancel()
        resolve(status)
      }
      const asking = request({
        host: to.address,
        port: to.port,
        path,
        agent: false,
        headers: { authorization: `Bearer ${this.apiKey}` },
        signal: giveUp.signal,
      })
      heard()
      asking.on('error', over)
      asking.on('response', response => {
        status = response.statusCode!
        let rest = ''
        response.setEncoding('utf8')
        response.on('data', (piece: string) => {
          heard()
          const lines = (rest + piece).split('\n')
          rest = lines.pop()!
          for (const line of lines) if (line !== '' && !giveUp.signal.aborted) take(line)
        })
        response.on('error', over)
        response.on('close', over)
      })
      asking.end()
    }))
  }

  /** Waits, as this host. */
  async wait (ms: number, what: string): Promise<void> {
    await new Promise<void>(resolve => { this.host.later(ms, what, resolve) })
  }
}

/** What an answer says; undefined where it is no JSON, as one that ended in the middle. */
export function jsonOf (answer: Answer): any {
  try {
    return JSON.parse(answer.text)
  } catch {
    return undefined
  }
}
