import { readFileSync } from 'node:fs'
import { WebSocket } from 'ws'
import { type NodeProcess, tokenFor, until } from './node-process.js'

interface Teardown { teardown (done: () => unknown): void }

/** A client that keeps to the rules all the time: an uplink, its ack, a moment's rest, and so on. */
export async function goodNeighbour (t: Teardown, node: NodeProcess, { priority = 0 } = {}) {
  const url = `${node.http.replace('http', 'ws')}/v1/connect`
  const ws = new WebSocket(url, ['ledgerline.v1.json'], { rejectUnauthorized: false })
  t.teardown(() => { ws.terminate() })
  let acked = 0
  let slowestMs = 0
  let sentAt = 0
  let trouble = ''
  const send = () => {
    sentAt = performance.now()
    ws.send(JSON.stringify({ op: 'uplink', seq: acked + 1, payload: `uplink ${acked + 1}`, priority }))
  }
  ws.on('message', data => {
    const frame = JSON.parse(String(data)) as { op: string, seq: number }
    if (frame.op === 'connected') return send()
    if (frame.op === 'uplinkAck' && frame.seq <= acked) return // one that is late is asked for again, and safe to repeat
    if (frame.op !== 'uplinkAck' || frame.seq !== acked + 1) {
      trouble ||= String(data)
      return
    }
    acked++
    slowestMs = Math.max(slowestMs, performance.now() - sentAt)
    setTimeout(() => { if (ws.readyState === WebSocket.OPEN) send() }, 50)
  })
  ws.on('close', code => { trouble ||= `closed with ${code}` })
  ws.on('error', err => { trouble ||= err.message })
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
  ws.send(JSON.stringify({ op: 'connect', token: await tokenFor('neighbour'), deviceId: 'phone', sessionId: 's1' }))
  await until(() => acked > 0 || trouble !== '')
  return {
    get trouble () { return trouble },
    get acked () { return acked },
    get slowestMs () { return slowestMs },
    /** It was there for long enough: what comes is no trouble. */
    close (): void { ws.removeAllListeners('close').close() },
    /** One more ack than there are now. */
    async goesOn (): Promise<void> {
      const before = acked
      await until(() => acked > before || trouble !== '')
    },
    /** Waits until `condition` holds, with an ack after each look; goes on without one where it has trouble. */
    async goesOnUntil (condition: () => unknown): Promise<void> {
      for (;;) {
        await this.goesOn()
        if (trouble !== '' || await condition()) return
      }
    },
  }
}

/** Memory that a process has in pages of its own, now and at most, bytes: what it maps of files is not its own. */
export function memoryOf ({ pid }: NodeProcess): { ownBytes: number, peakBytes: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const read = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1])
  return { ownBytes: read('RssAnon'), peakBytes: read('VmHWM') }
}

/** In words. */
export function mib (bytes: number): string { return `${Math.round(bytes / 2 ** 20)} MiB` }
