import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createService } from '../dist/service/service.js'

/*
  How long the partitions of a group stand still when one of its four readers is killed, on an embedded node:

    node bench/groups.js [ROUNDS]

  Each reader is a process that acks what it gets. Rooms are posted in all the time; the longest silence of a room whose
  reader was killed is told, and how many posts came twice of those that were acked.
*/

const [, file, ...args] = process.argv
if (args[0] === 'reader') await read(...args.slice(1))
else await main(Number(args[0] ?? 5))

async function read (url, apiKey) {
  for await (const post of createService({ url, apiKey }).group('bench').read('posts')) {
    console.log(`got ${post.roomId}/${post.roomSeq}`)
    if (await post.ack()) console.log(`acked ${post.roomId}/${post.roomSeq}`)
  }
}

async function main (rounds) {
  const data = mkdtempSync(join(tmpdir(), 'ledgerline-groups-'))
  const apiKey = 'the-key-of-a-bench-of-groups'
  const command = fileURLToPath(new URL('../dist/cli/ledgerline.js', import.meta.url))
  const env = { ...process.env, LEDGERLINE_DATA: data, LEDGERLINE_API_KEYS: apiKey, LEDGERLINE_HTTP_PORT: '0', LEDGERLINE_TCP_PORT: '0' }
  const node = spawn(process.execPath, [command, 'start'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const url = await new Promise(resolve => {
      createInterface({ input: node.stdout }).on('line', line => {
        const { msg, http } = JSON.parse(line)
        if (msg === 'ready') resolve(http)
      })
    })
    const service = createService({ url, apiKey })
    const rooms = Array.from({ length: 32 }, (_, i) => `room-${i}`)
    const lastMs = new Map()
    const acked = new Map()
    let longestMs = 0
    let again = 0
    let watching = false
    const start = () => {
      const child = spawn(process.execPath, [file, 'reader', url, apiKey], { stdio: ['ignore', 'pipe', 'inherit'] })
      createInterface({ input: child.stdout }).on('line', line => {
        const [what, post] = line.split(' ')
        if (what === 'acked') return acked.set(post, (acked.get(post) ?? 0) + 1)
        if (acked.has(post)) again++
        const [room] = post.split('/')
        if (watching) longestMs = Math.max(longestMs, performance.now() - (lastMs.get(room) ?? performance.now()))
        lastMs.set(room, performance.now())
      })
      return child
    }
    const readers = Array.from({ length: 4 }, start)
    const stopping = new AbortController()
    const posting = (async () => {
      while (!stopping.signal.aborted) await Promise.all(rooms.map(room => service.post(room, { payload: 'x' })))
    })()
    await pause(3_000)
    for (let round = 0; round < rounds; round++) {
      longestMs = 0
      watching = true
      readers.shift().kill('SIGKILL')
      await pause(3_000)
      watching = false
      const silence = `the longest silence of a room was ${Math.round(longestMs)} ms`
      console.log(`round ${round + 1}: ${silence}, ${again} acked posts came again`)
      readers.push(start())
      await pause(3_000)
    }
    stopping.abort()
    await posting
    for (const reader of readers) reader.kill('SIGKILL')
    console.log(`${acked.size} posts were acked`)
  } finally {
    node.kill('SIGKILL')
    rmSync(data, { recursive: true, force: true })
  }
}

function pause (ms) { return new Promise(resolve => { setTimeout(resolve, ms) }) }
