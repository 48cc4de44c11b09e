import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import t from 'tap'
import type { Test } from 'tap'
import { EventSources, program } from '../client/event-sources.js'
import { browserMissing } from '../client/page.js'
import { findPort } from '../cluster/server-process.js'
import { apiKey, type NodeProcess, request, startProcess } from '../faults/node-process.js'
import { until } from './node.js'

const python = `
import json, sys, urllib.request
seen, after = [], ''
while len(seen) < int(sys.argv[3]):
    asked = urllib.request.Request(sys.argv[1] + '&after=' + after, headers={'Authorization': 'Bearer ' + sys.argv[2]})
    with urllib.request.urlopen(asked) as lines:
        for line in lines:
            if line.strip():
                record = json.loads(line)
                after = record['cursor']
                seen.append(record['roomSeq'])
print(json.dumps(seen))
`

const post = async (node: NodeProcess, count: number) => {
  for (let i = 0; i < count; i++) await request(node, '/v1/rooms/lobby/posts', { payload: `post ${i} ☃` })
}

function run (t: Test, command: string, args: string[], env: Record<string, string> = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env['PATH'], ...env } })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', line => { if (line !== '') lines.push(line) })
  return { child, lines }
}

t.test('A stream is read by clients that are not ours:', { timeout: 200_000 }, async t => {
  const directory = t.testdir({ data: {}, profile: {} })
  const httpPort = String(await findPort())
  const start = async () => await startProcess(t, `${directory}/data`, { LEDGERLINE_HTTP_PORT: httpPort })
  let node = await start()
  await post(node, 3)
  const authorization = `Authorization: Bearer ${apiKey}`
  const posts = `${node.http}/v1/streams/posts`

  await t.test('curl', async t => {
    const { lines } = run(t, 'curl', ['-sN', '-H', authorization, `${posts}?follow=true`])
    await until('what there was', async () => lines.length === 3)
    await post(node, 1)
    await until('what came', async () => lines.length === 4)
    t.strictSame(lines.map(line => JSON.parse(line).roomSeq), [1, 2, 3, 4])
    const events = run(t, 'curl', ['-sN', '-H', authorization, '-H', 'Accept: text/event-stream', `${posts}?follow=false`])
    await once(events.child, 'close')
    t.strictSame(events.lines.map(line => line.split(':', 1)[0]), ['retry', ...Array.from({ length: 4 }, () => ['id', 'data']).flat()])
  })

  await t.test('Python, a page at a time', async t => {
    writeFileSync(`${directory}/read.py`, python)
    const { child, lines } = run(t, 'python3', [`${directory}/read.py`, `${posts}?limit=2&room=lobby`, apiKey, '4'])
    await once(child, 'close')
    t.strictSame(JSON.parse(lines[0]!), [1, 2, 3, 4])
  })

  await t.test('an EventSource in a browser, behind the program of docs/streams.md, through kill -9 of the node', {
    skip: browserMissing,
  }, async t => {
    const sources = await EventSources.open(t, directory, { url: node.http, key: apiKey }, ['posts'])
    const seen = async () => (await sources.lines('posts')).map(({ roomSeq }) => roomSeq)
    await until('what there was', async () => (await seen()).length === 4)
    await node.kill('SIGKILL')
    node = await start()
    await post(node, 2)
    await until('what came after', async () => (await seen()).length >= 6)
    t.strictSame(await seen(), [1, 2, 3, 4, 5, 6])
  })
})

t.test('The server of the documentation breaks off what passes, for the page to come back, and hands on what does not', async t => {
  const statuses = [429, 503, 401]
  const gateway = createServer((_request, answer) => { answer.writeHead(statuses.shift()!).end() }).listen(0, '127.0.0.1')
  t.teardown(() => gateway.close())
  await once(gateway, 'listening')
  const directory = t.testdir({ 'server.mjs': program })
  const port = String(await findPort())
  const url = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
  run(t, process.execPath, [`${directory}/server.mjs`], { LEDGERLINE_URL: url, LEDGERLINE_API_KEY: 'key', PORT: port })
  const site = `http://127.0.0.1:${port}`
  await until('it listens', async () => (await fetch(site).catch(() => undefined))?.status === 404)
  await t.rejects(fetch(`${site}/uplinks`), '429')
  await t.rejects(fetch(`${site}/uplinks`), '503')
  t.equal((await fetch(`${site}/uplinks`)).status, 401)
})
