const slabBytes = 1 << 20

/**
 * Where all outgoing bytes of this process are built: everything for one connection in one turn is one write. A slab is
 * never written to twice, so a write that the kernel takes late still sends what was meant.
 */
class Outgoing {
  bytes = Buffer.allocUnsafeSlow(slabBytes)
  start = 0
  at = 0

  /** Makes room for `count` more bytes; call it before writing at `at`. */
  reserve (count) {
    if (this.at + count <= this.bytes.length) return
    const pending = this.bytes.subarray(this.start, this.at)
    this.bytes = Buffer.allocUnsafeSlow(Math.max(slabBytes, 2 * (pending.length + count)))
    pending.copy(this.bytes)
    this.at = pending.length
    this.start = 0
  }

  put (bytes) {
    this.reserve(bytes.length)
    bytes.copy(this.bytes, this.at)
    this.at += bytes.length
  }

  /** Writes what was put since the last flush. */
  flush (socket) {
    if (this.at === this.start) return
    socket.write(this.bytes.subarray(this.start, this.at))
    this.start = this.at
  }
}

export const out = new Outgoing()
