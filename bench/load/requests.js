import { connect } from 'node:net'

/**
 * Sends one prepared HTTP request again and again over keep-alive connections, one at a time on each. By hand, for the
 * same reason as the clients.
 */
export class Requests {
  #idle = []
  /** Called after every answer. */
  onAnswer = () => {}

  /**
   * @param {number} port on loopback
   * @param {{ path: string, body: Buffer, headers?: Record<string, string> }} request
   * @param {(err: Error) => void} failed
   */
  constructor (port, { path, body, headers = {} }, failed) {
    const lines = Object.entries({ 'content-length': body.length, ...headers }).map(([name, value]) => `${name}: ${value}`)
    const head = [`POST ${path} HTTP/1.1`, 'host: 127.0.0.1', ...lines, '', ''].join('\r\n')
    this.bytes = Buffer.concat([Buffer.from(head), body])
    this.port = port
    this.failed = failed
  }

  async open (count) {
    for (let i = 0; i < count; i++) this.#idle.push(await this.#connect())
  }

  get free () {
    return this.#idle.length
  }

  /** Sends it once more on a free connection. */
  send () {
    this.#idle.pop().write(this.bytes)
  }

  #connect () {
    return new Promise(resolve => {
      const socket = connect({ host: '127.0.0.1', port: this.port, noDelay: true }, () => resolve(socket))
      let rest = Buffer.alloc(0)
      socket.on('error', this.failed)
      socket.on('data', chunk => {
        rest = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
        const length = this.#responseBytes(rest)
        if (length === 0 || rest.length < length) return
        rest = rest.subarray(length)
        this.#idle.push(socket)
        this.onAnswer()
      })
    })
  }

  /** @returns bytes of the response that `bytes` begins with, 0 while its head is incomplete */
  #responseBytes (bytes) {
    const headBytes = bytes.indexOf('\r\n\r\n') + 4
    if (headBytes < 4) return 0
    const head = bytes.latin1Slice(0, headBytes)
    const length = /^content-length: *(\d+)/im.exec(head)
    if (!head.startsWith('HTTP/1.1 2') || !length) {
      this.failed(new Error(`request: got ${JSON.stringify(bytes.latin1Slice(0, 300))}`))
      return 0
    }
    return headBytes + Number(length[1])
  }
}
