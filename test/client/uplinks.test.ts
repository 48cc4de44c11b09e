import fc from 'fast-check'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { systemClock } from '../../client/clock.js'
import { Keeper } from '../../client/storage/keeper.js'
import type { ClientStorage } from '../../client/storage/storage.js'
import { Uplinks } from '../../client/uplinks.js'
import type { Uplink } from '../../schemas/frames.js'

/** A disk that takes a write, a change at a time, when it is told to; a crash leaves what it has by then. */
class Disk {
  kept = new Map<string, string>()
  #waiting: Array<{ changes: Array<[string, string | undefined]>, done: () => void }> = []

  storage (): ClientStorage {
    return {
      open: async () => new Map(this.kept),
      write: async changes => await new Promise(resolve => {
        this.#waiting.push({ changes: [...changes], done: resolve })
      }),
      close: async () => {},
    }
  }

  /** Takes the next so many changes. */
  take (count: number): void {
    for (let i = 0; i < count; i++) {
      const write = this.#waiting[0]
      const [key, value] = write?.changes.shift() ?? []
      if (key !== undefined && value !== undefined) this.kept.set(key, value)
      else if (key !== undefined) this.kept.delete(key)
      if (write?.changes.length === 0) this.#waiting.shift()!.done()
    }
  }

  /** What is under way never arrives. */
  crash (): void {
    this.#waiting = []
  }
}

/** A server of one device, as the user's fold is: each session's uplinks by number, from 1 without gaps. */
class Server {
  readonly accepted: string[] = []
  #sessionId = ''
  uplinkSeq = 0

  open (sessionId: string): void {
    if (sessionId !== this.#sessionId) this.uplinkSeq = 0
    this.#sessionId = sessionId
  }

  /** @returns false for the next one where it is a post, which nobody here may send */
  take ({ seq, payload, roomId }: Uplink): boolean {
    if (seq !== this.uplinkSeq + 1) return true
    if (roomId !== '') return false
    this.uplinkSeq = seq
    this.accepted.push(Buffer.from(payload).toString())
    return true
  }
}

/** An application with its disk, and the server that it talks to. */
class World {
  readonly server = new Server()
  disk = new Disk()
  uplinks!: Uplinks
  wire: Uplink[] = []
  isOpen = false
  sent = 0
  frameBytesMax = 100
  /** Told of after a restart. */
  readonly rejected: string[] = []
  /** Resolved, or told of after a restart. */
  readonly done: string[] = []

  async start (): Promise<void> {
    const keeper = new Keeper(this.disk.storage(), { clock: systemClock, failed: () => {} })
    this.uplinks = new Uplinks({
      clock: systemClock,
      keeper,
      max: 1000,
      bytesMax: 1 << 20,
      accepted: ({ payload }) => this.done.push(Buffer.from(payload).toString()),
      rejected: ({ payload }) => this.rejected.push(Buffer.from(payload).toString()),
      refused: () => {},
      frameBytes: ({ payload }) => payload.length,
    })
    this.uplinks.restore(await keeper.open(() => {}))
  }

  send (): void {
    const text = String(++this.sent)
    const { uplinks } = this
    uplinks.send('', Buffer.from(text), 0).then(() => { if (uplinks === this.uplinks) this.done.push(text) }, () => {})
  }

  /** One that no server here takes. */
  sendLarge (): void {
    const text = `${++this.sent}${' '.repeat(200)}`
    this.uplinks.send('', Buffer.from(text), 0).catch(({ code }) => { if (code === 'payload-too-large') this.rejected.push(text) })
  }

  /** One that no server here may take. */
  post (): void {
    const text = String(++this.sent)
    this.uplinks.send('', Buffer.from(text), 0, 'secret').catch(({ code }) => { if (code === 'forbidden') this.rejected.push(text) })
  }

  open (): void {
    this.wire = []
    this.isOpen = true
    const line = { uplinkWindow: 8, frameBytesMax: this.frameBytesMax, send: (frame: Uplink) => this.wire.push(frame) }
    for (;;) {
      const { sessionId, ackedSeq } = this.uplinks
      this.server.open(sessionId)
      if (this.uplinks.resume(line, this.server.uplinkSeq, ackedSeq)) return
      if (sessionId === this.uplinks.sessionId) throw new Error('the session that is not ours any more goes on')
    }
  }

  deliver (): void {
    const frame = this.wire.shift()
    if (!frame || this.server.take(frame)) return
    // At once, and so before the acks of those before it.
    this.#goOn(this.uplinks.refused({ op: 'uplinkRefused', expectedSeq: frame.seq, code: 'forbidden', retryAfterMs: 0 }))
  }

  ack (): void {
    if (this.isOpen) this.#goOn(this.uplinks.acked({ op: 'uplinkAck', seq: this.server.uplinkSeq, userSeqs: [] }))
  }

  #goOn (isSession: boolean): void {
    if (isSession) return
    this.cut()
    this.open()
  }

  cut (): void {
    this.isOpen = false
    this.wire = []
    this.uplinks.pause()
  }

  async crash (): Promise<void> {
    this.cut()
    this.disk.crash()
    await this.start()
  }

  /** Until all that was put is on the disk: what one write leaves over is the next one. */
  async write (): Promise<void> {
    for (let write = 1; write <= 3; write++) {
      await setImmediate()
      this.disk.take(1000)
    }
    await setImmediate()
  }

  /** Until everything is through. */
  async settle (): Promise<void> {
    this.open()
    while (this.uplinks.size > 0) {
      this.disk.take(1000)
      await setImmediate()
      this.deliver()
      this.ack()
    }
    for (let write = 1; write <= 3; write++) { // what one write leaves over is the next one
      this.disk.take(1000)
      await setImmediate()
    }
  }
}

t.test('Uplinks', async t => {
  t.test('go out once they are on the disk, and not before', async t => {
    const world = new World()
    await world.start()
    world.open()
    world.send()
    await setImmediate()
    t.strictSame(world.wire, [])
    world.disk.take(1)
    await setImmediate()
    t.strictSame(world.wire, [], 'nor when only the first of its changes is')
    world.disk.take(100)
    await setImmediate()
    t.match(world.wire, [{ seq: 1, payload: Buffer.from('1') }])
  })

  t.test('are each accepted once and in order, whatever breaks and wherever a crash cuts a write', async t => {
    const step = fc.constantFrom('send', 'large', 'disk', 'disk', 'open', 'deliver', 'deliver', 'ack', 'cut', 'crash', 'turn')
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 120 }), async steps => {
      const world = new World()
      await world.start()
      const run: Record<string, () => unknown> = {
        send: () => world.send(),
        large: () => world.sendLarge(),
        disk: () => world.disk.take(1),
        open: () => { if (!world.isOpen) world.open() },
        deliver: () => world.deliver(),
        ack: () => world.ack(),
        cut: () => world.cut(),
        crash: async () => await world.crash(),
        turn: async () => await setImmediate(),
      }
      for (const each of steps) await run[each]!()
      await world.settle()
      const { accepted } = world.server
      const inOrder = [...new Set(accepted.map(Number))].sort((a, b) => a - b).map(String)
      t.strictSame(accepted, inOrder)
      t.strictSame(world.done.filter(each => !accepted.includes(each)), [])
    }), { numRuns: 150 })
  })

  t.test('are each accepted once and in order, whichever among them are forbidden and however late acks come', async t => {
    const step = fc.constantFrom('send', 'post', 'write', 'write', 'deliver', 'deliver', 'deliver', 'ack', 'cut', 'open')
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
      const world = new World()
      await world.start()
      world.open()
      const run: Record<string, () => unknown> = {
        send: () => world.send(),
        post: () => world.post(),
        write: async () => await world.write(),
        deliver: () => world.deliver(),
        ack: () => world.ack(),
        cut: () => world.cut(),
        open: () => { if (!world.isOpen) world.open() },
      }
      for (const each of steps) await run[each]!()
      await world.settle()
      const all = Array.from({ length: world.sent }, (_, i) => String(i + 1))
      t.strictSame(world.server.accepted, all.filter(each => !world.rejected.includes(each)))
      t.equal(world.rejected.length, steps.filter(each => each === 'post').length)
    }), { numRuns: 100 })
  })

  t.test('that turn out to be too large are rejected, and those behind them take their numbers', async t => {
    const world = new World()
    await world.start()
    for (const kind of ['send', 'sendLarge', 'send', 'sendLarge', 'send'] as const) world[kind]()
    const { sessionId } = world.uplinks
    await world.settle()
    t.strictSame([world.server.accepted, world.server.uplinkSeq], [['1', '3', '5'], 3])
    t.strictSame([world.rejected.length, world.uplinks.sessionId === sessionId], [2, true])
    world.sendLarge()
    await setImmediate()
    t.equal(world.rejected.length, 3, 'and later at once')
  })

  t.test('that an earlier run left and that are too large are told, however often it starts', async t => {
    const world = new World()
    await world.start()
    for (const kind of ['sendLarge', 'send'] as const) world[kind]()
    await world.write()
    await world.crash()
    await world.crash()
    await world.settle()
    t.strictSame([world.server.accepted, world.rejected.length], [['2'], 1])
    await world.crash()
    await world.settle()
    t.strictSame([world.server.accepted, world.rejected.length], [['2'], 1])
  })

  t.test('that were offered to a server which took more begin a new session with what is behind them', async t => {
    const world = new World()
    await world.start()
    world.frameBytesMax = 1000
    world.open()
    for (const kind of ['send', 'sendLarge', 'send'] as const) world[kind]()
    await world.write()
    t.equal(world.wire.length, 3)
    const { sessionId } = world.uplinks
    world.cut()
    world.frameBytesMax = 100
    await world.settle()
    t.strictSame([world.server.accepted, world.rejected.length], [['1', '3'], 1])
    t.not(world.uplinks.sessionId, sessionId)
  })

  t.test('of a session that was given up are not sent again', async t => {
    const world = new World()
    const [old, ours] = ['00000000-0000-4000-8000-000000000000', '11111111-1111-4111-8111-111111111111']
    world.disk.kept = new Map([
      [`${old}/1`, '{"service":"","payload":"old","priority":0}'],
      [`${ours}/1`, '{"service":"","payload":"ours","priority":0}'],
      ['session', JSON.stringify({ sessionId: ours, ackedSeq: 0, offeredSeq: 0 })],
    ])
    await world.start()
    await world.settle()
    t.strictSame(world.server.accepted, ['ours'])
    t.strictSame([...world.disk.kept.keys()], ['session', 'owner'])
  })

  t.test('of a storage restored from a backup are not taken for those that went out since', async t => {
    const world = new World()
    await world.start()
    world.open()
    for (let i = 0; i < 3; i++) world.send()
    await world.settle()
    const backup = new Map(world.disk.kept)
    for (let i = 0; i < 2; i++) world.send()
    await world.settle()
    t.strictSame(world.server.accepted, ['1', '2', '3', '4', '5'])

    world.cut()
    world.disk = new Disk()
    world.disk.kept = backup
    await world.start()
    world.sent = 10
    for (let i = 0; i < 2; i++) world.send() // numbered 4 and 5, as those before
    await world.settle()
    t.strictSame(world.server.accepted, ['1', '2', '3', '4', '5', '11', '12'])
    t.strictSame(world.done.slice(-2), ['11', '12'])
  })
  t.test('that such a storage had taken in before a restart, without a connection, go out too', async t => {
    const world = new World()
    await world.start()
    world.open()
    world.send()
    await world.settle()
    const backup = new Map(world.disk.kept)
    for (let i = 0; i < 2; i++) world.send()
    await world.settle()

    world.cut()
    world.disk = new Disk()
    world.disk.kept = backup
    await world.start()
    world.sent = 10
    for (let i = 0; i < 2; i++) world.send()
    await world.write()
    world.cut()
    await world.start()
    await world.settle()
    t.strictSame(world.server.accepted, ['1', '2', '3', '11', '12'])
    t.strictSame(world.done.slice(-2), ['11', '12'])
  })

  t.test('go out twice, and none is lost, where a storage has lost nothing but that they were offered', async t => {
    const world = new World()
    await world.start()
    world.send()
    await world.write()
    const before = new Map(world.disk.kept)
    await world.settle()
    t.strictSame(world.server.accepted, ['1'])

    world.cut()
    world.disk = new Disk()
    world.disk.kept = before
    await world.start()
    await world.settle()
    t.strictSame(world.server.accepted, ['1', '1'])
  })
})
