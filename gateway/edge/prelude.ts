import type { GatewayError } from '../../schemas/errors.js'
import { type ProxyHeader, readProxyHeader } from './proxy-header.js'

/** What the first bytes of a proxy's socket said. */
export interface Beginning {
  /** Undefined where there was none. */
  readonly header: ProxyHeader | undefined
  /** What is the client's of the bytes that were read. */
  readonly rest: Buffer
  /** The header is bad. */
  readonly error: GatewayError | undefined
}

/** The beginning of a proxy's socket, until its PROXY header is whole, or it is clear that there is none. */
export class Prelude {
  #bytes: Buffer = nothing
  #done = false
  readonly #timer: NodeJS.Timeout

  /**
   * @param waitMs for a header that does not come, or not to its end
   * @param begun called once, unless the socket closes before
   */
  constructor (waitMs: number, late: () => void, readonly begun: (beginning: Beginning) => void) {
    this.#timer = setTimeout(late, waitMs)
  }

  read (chunk: Buffer): void {
    if (this.#done) return
    const bytes = this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    try {
      const beginning = readProxyHeader(bytes)
      if (beginning.is === 'partial') return
      const header = beginning.is === 'header' ? beginning.header : undefined
      this.#end({ header, rest: bytes.subarray(header?.bytes ?? 0), error: undefined })
    } catch (err) {
      this.#end({ header: undefined, rest: nothing, error: err as GatewayError })
    }
  }

  /** The socket has closed. */
  stop (): void {
    this.#done = true
    this.#bytes = nothing
    clearTimeout(this.#timer)
  }

  #end (beginning: Beginning): void {
    this.stop()
    this.begun(beginning)
  }
}

const nothing = Buffer.alloc(0)
