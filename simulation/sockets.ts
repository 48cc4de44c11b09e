import { EventEmitter } from 'node:events'
import { Duplex } from 'node:stream'
import type { End, Listener, Network } from './network.js'

/** What net.js has below a socket, as far as the gateway's own code looks at it. */
export class Handle {
  reading = false
  readonly fd = 20
  onReadable = (): void => {}

  constructor (readonly end: End) {}

  readStart (): void {
    this.reading = true
    if (this.end.hasArrived) this.end.host.later(0, 'reads on', () => { if (this.reading) this.onReadable() })
  }

  readStop (): void { this.reading = false }
  setNoDelay (): void {}
  getAsyncId (): number { return 0 }
  close (): void { this.end.close() }

  getpeername (to: Record<string, unknown>): void {
    const { peer } = this.end
    Object.assign(to, { address: peer?.host.address ?? '', port: peer?.port ?? 0, family: 'IPv4' })
  }
}

interface SocketOptions {
  readonly handle?: Handle
  readonly allowHalfOpen?: boolean
  readonly onread?: { readonly buffer: Uint8Array, readonly callback: (bytes: number, buffer: Uint8Array) => boolean }
}

type Done = (error?: Error | null) => void

/** Stands for `net.Socket`, over a simulated connection. */
export class Socket extends Duplex {
  connecting = false
  bytesRead = 0
  bytesWritten = 0
  timeout = 0
  _handle: Handle | null = null
  readonly #onread: SocketOptions['onread']
  #idle: ReturnType<typeof setTimeout> | undefined
  #activeAtMs = 0
  #remote: { readonly address: string, readonly port: number } | undefined
  #blocked: (() => void) | undefined
  #begins: Array<() => void> = []

  constructor ({ handle, allowHalfOpen = false, onread }: SocketOptions = {}) {
    super({ allowHalfOpen, emitClose: false, autoDestroy: true, decodeStrings: true })
    this.#onread = onread
    if (handle) this.#attach(handle)
  }

  get remoteAddress (): string | undefined { return this.#remote?.address }
  get remotePort (): number | undefined { return this.#remote?.port }
  get remoteFamily (): string | undefined { return this.#remote && 'IPv4' }
  get localAddress (): string | undefined { return this._handle?.end.host.address }
  get localPort (): number | undefined { return this._handle?.end.port }
  get pending (): boolean { return this._handle === null || this.connecting }
  get readyState (): string { return this.connecting ? 'opening' : this.destroyed ? 'closed' : 'open' }

  setNoDelay (): this { return this }
  setKeepAlive (): this { return this }
  ref (): this { return this }
  unref (): this { return this }
  address (): object { return { address: this.localAddress, port: this.localPort, family: 'IPv4' } }

  setTimeout (ms: number, done?: () => void): this {
    this.timeout = ms
    clearTimeout(this.#idle)
    this.#idle = undefined
    this.#isActive()
    if (done) {
      if (ms > 0) this.once('timeout', done)
      else this.removeListener('timeout', done)
    }
    return this
  }

  connect (network: Network, address: string, port: number): this {
    this.connecting = true
    this.#remote = { address, port }
    this.#attach(new Handle(network.connect(network.world.current, address, port)))
    return this
  }

  destroySoon (): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => { this.destroy() })
  }

  resetAndDestroy (): this { return this.destroy() }

  /** As in net.js: a stream that reads into a buffer of its own stops at once. */
  override pause (): this {
    if (this.#onread && !this.connecting) this._handle?.readStop()
    return super.pause()
  }

  override resume (): this {
    if (this.#onread && !this.connecting && this._handle?.reading === false) this._handle.readStart()
    return super.resume()
  }

  override _read (): void {
    if (this.connecting) this.#begins.push(() => { this._read() })
    else if (this._handle?.reading === false) this._handle.readStart()
  }

  override _write (bytes: Buffer, _encoding: string, done: Done): void {
    if (this.connecting) {
      this.#begins.push(() => { this._write(bytes, _encoding, done) })
      return
    }
    if (this._handle === null) return done(Object.assign(new Error('This socket has been ended'), { code: 'EPIPE' }))
    this.#isActive()
    this.bytesWritten += bytes.length
    if (this._handle.end.write(bytes)) process.nextTick(done)
    else this.#blocked = done
  }

  override _writev (chunks: Array<{ chunk: Buffer }>, done: Done): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done)
  }

  override _final (done: Done): void {
    if (this.connecting) {
      this.#begins.push(() => { this._final(done) })
      return
    }
    this._handle?.end.end()
    done()
  }

  override _destroy (error: Error | null, done: Done): void {
    clearTimeout(this.#idle)
    this.connecting = false
    const handle = this._handle
    this._handle = null
    handle?.readStop()
    handle?.close()
    done(error)
    setImmediate(() => { this.emit('close', error !== null) })
  }

  #attach (handle: Handle): void {
    this._handle = handle
    const { end } = handle
    const peer: { address?: string, port?: number } = {}
    handle.getpeername(peer)
    if (!this.connecting) this.#remote = { address: peer.address ?? '', port: peer.port ?? 0 }
    handle.onReadable = () => { this.#readAll() }
    end.events = {
      opened: () => {
        if (this.destroyed) return
        this.connecting = false
        for (const begin of this.#begins.splice(0)) begin()
        this.emit('connect')
        this.emit('ready')
        if (!this.isPaused()) this.read(0)
      },
      readable: () => { this.#readAll() },
      drained: () => {
        const done = this.#blocked
        this.#blocked = undefined
        done?.()
      },
      unsentBytes: () => this.writableLength,
      failed: code => { this.destroy(Object.assign(new Error(`${this.connecting ? 'connect' : 'read'} ${code}`), { code })) },
    }
  }

  #readAll (): void {
    while (this._handle?.reading) {
      const bytes = this._handle.end.take()
      if (bytes === undefined) return
      this.#isActive()
      if (bytes === null) {
        this._handle.readStop()
        this.push(null)
        this.read(0)
        return
      }
      this.bytesRead += bytes.length
      if (this.#onread) this.#readInto(this.#onread, bytes)
      else if (!this.push(bytes)) this._handle?.readStop()
    }
  }

  #readInto ({ buffer, callback }: NonNullable<SocketOptions['onread']>, bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += buffer.length) {
      const part = bytes.subarray(at, at + buffer.length)
      buffer.set(part)
      if (!callback.call(this, part.length, buffer)) this._handle?.readStop()
    }
  }

  /** One timer for many reads and writes: when it goes off it looks at how long ago the last one was. */
  #isActive (): void {
    if (this.timeout === 0) return
    this.#activeAtMs = performance.now()
    if (this.#idle === undefined) this.#watch(this.timeout)
  }

  #watch (ms: number): void {
    this.#idle = setTimeout(() => {
      this.#idle = undefined
      const leftMs = this.#activeAtMs + this.timeout - performance.now()
      if (leftMs > 0) this.#watch(leftMs)
      else this.emit('timeout')
    }, ms)
  }
}

/** Stands for `net.Server`. */
export class Server extends EventEmitter {
  _handle: { onconnection: (status: number, handle: Handle) => void } | null = null
  #listener: Listener | undefined

  constructor (readonly network: Network, listener?: (socket: Socket) => void) {
    super()
    if (listener) this.on('connection', listener)
  }

  get listening (): boolean { return this.#listener !== undefined }

  listen (options: { port?: number } | number = 0, ...more: unknown[]): this {
    const { network } = this
    const host = network.world.current
    const port = typeof options === 'number' ? options : options.port ?? 0
    const done = more.at(-1)
    if (typeof done === 'function') this.once('listening', done as () => void)
    const handle = {
      onconnection: (_status: number, accepted: Handle): void => { this.emit('connection', new Socket({ handle: accepted })) },
    }
    this._handle = handle
    this.#listener = network.listen(host, port, end => { handle.onconnection(0, new Handle(end)) })
    const isTaken = this.#listener === undefined
    host.later(0, 'listens', () => {
      if (!isTaken) this.emit('listening')
      else this.emit('error', Object.assign(new Error(`listen EADDRINUSE: ${host.address}:${port}`), { code: 'EADDRINUSE', port }))
    })
    return this
  }

  address (): { address: string, port: number, family: string } | null {
    const listener = this.#listener
    return listener ? { address: listener.host.address, port: listener.port, family: 'IPv4' } : null
  }

  close (done?: () => void): this {
    if (done) this.once('close', done)
    if (this.#listener) this.network.unlisten(this.#listener)
    this.#listener = undefined
    this._handle = null
    setImmediate(() => { this.emit('close') })
    return this
  }

  ref (): this { return this }
  unref (): this { return this }
}
