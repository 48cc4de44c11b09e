import { once } from 'node:events'
import { get } from 'node:http'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { embeddedLog } from '../../../ledger/embedded/log.js'
import { openStore } from '../../../ledger/embedded/store.js'
import { openRemoteLog } from '../../../ledger/remote.js'
import type { ConnectionEnded } from '../../../schemas/records.js'
import { connections, uplinks } from '../../../schemas/streams.js'
import { ended, noon } from '../../evidence/connection-rows.js'
import { givenApp, key, uplink } from './given.js'

/** A gateway's HTTP side over a log of one partition, whose retention deletes what it is told to. */
async function givenCut (t: Test) {
  let keptFrom = 0n
  const store = await openStore({ directory: t.testdir(), headroomBytes: 1 << 20 })
  t.teardown(() => store.close())
  const retention = { partitions: 1, retentionMs: -1, keepFrom: () => keptFrom }
  const streams = { [uplinks.name]: retention, [connections.name]: retention }
  const log = embeddedLog(store, { partitions: 1, streams, sweepMs: 3_600_000 })
  log.partitions(uplinks)
  log.partitions(connections)
  const { app } = givenApp(t, { logReader: log, streams: [uplinks, connections] })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  async function ask (path: string): Promise<IncomingMessage> {
    const request = get(`${url}${path}`, { headers: key })
    return (await once(request, 'response') as [IncomingMessage])[0]
  }
  const linesOf = async (path: string) => {
    const lines: any[] = []
    for await (const line of linesIn(await ask(path))) if (line !== '') lines.push(JSON.parse(line))
    return lines
  }
  const cut = async (to: bigint) => {
    keptFrom = to
    await log.sweep()
  }
  return { log, url, ask, linesOf, cut }
}

/** Who stops reading them leaves. */
async function * linesIn (response: IncomingMessage): AsyncGenerator<string> {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = (text + chunk).split('\n')
    text = lines.pop()!
    yield * lines
  }
}

/**
 * Whether lines and holes follow each other without a gap. Blocks go some at a time, so there may be several holes.
 *
 * @param indexOf of the item that a line tells, from 0
 */
function joined (told: any[], indexOf: (line: any) => number, itemsOfBlock: number) {
  const holes: any[] = []
  const missing: any[] = []
  let next = 0
  for (const line of told) {
    const from = line.hole ? itemsOfBlock * Number(line.hole.from) : indexOf(line)
    if (from !== next) missing.push({ next, line })
    next = line.hole ? itemsOfBlock * Number(line.hole.to) : from + 1
    if (line.hole) holes.push(line)
  }
  return { holes, missing }
}

t.test('A reader that retention passes', async t => {
  t.test('is told in its stream where the hole is, while it follows', async t => {
    const { log, ask, cut } = await givenCut(t)
    const payload = Buffer.alloc(60_000, 'x')
    let userSeq = 0
    const append = async (count: number) => {
      for (let i = 0; i < count; i++) await log.append(uplinks, 0, [uplink('ann', ++userSeq, { payload })])
    }
    await append(1)
    const response = await ask('/v1/uplinks?follow=true')
    response.pause() // takes nothing, until the sockets between are full and the reader waits
    await append(400)
    await cut(395n)
    const told: any[] = []
    for await (const line of linesIn(response)) {
      if (line === '') continue
      told.push(JSON.parse(line))
      if (told.at(-1).userSeq === userSeq) break
    }
    const { holes, missing } = joined(told, line => line.userSeq - 1, 1)
    t.match(holes.at(-1), { cursor: String, hole: { partition: 0, to: '395' } })
    t.strictSame(missing, [], 'nothing is missing before, between or after')
  })

  t.test('is told at the beginning, and goes on behind the hole with the cursor of that line', async t => {
    const { log, linesOf, cut } = await givenCut(t)
    for (let i = 1; i <= 6; i++) await log.append(uplinks, 0, [uplink('ann', i)])
    const [first] = await linesOf('/v1/uplinks?limit=1')
    await cut(4n)
    const [hole, ...rest] = await linesOf(`/v1/uplinks?after=${first.cursor}`)
    t.match(hole, { hole: { partition: 0, from: '1', to: '4' } })
    t.strictSame(rest.map(line => line.userSeq), [5, 6])
    t.strictSame((await linesOf(`/v1/uplinks?after=${hole.cursor}`)).map(line => line.userSeq), [5, 6])
    t.strictSame((await linesOf('/v1/uplinks')).map(line => line.userSeq), [5, 6],
      'what was gone before a reader from the beginning came is no hole')
  })

  t.test('of the history is told, too', async t => {
    const { log, ask, cut } = await givenCut(t)
    const row = (i: number): ConnectionEnded => ended('ann', `c${i}`, { closedAtMs: noon + i, reason: 'x'.repeat(2_000) })
    for (let i = 0; i < 400; i++) {
      await log.append(connections, 0, Array.from({ length: 20 }, (_, j) => row(20 * i + j)))
    }
    const response = await ask('/v1/connections')
    response.pause()
    await cut(398n)
    const told: any[] = []
    for await (const line of linesIn(response)) if (line !== '') told.push(JSON.parse(line))
    const { holes, missing } = joined(told, line => Number(line.connectionId.slice(1)), 20)
    t.match(holes.at(-1), { hole: { partition: 0, to: '398' } })
    t.strictSame(missing, [])
    t.equal(told.at(-1).connectionId, 'c7999')
  })

  t.test('of stored blocks is told by one without a body', async t => {
    const { log, url, cut } = await givenCut(t)
    for (let i = 1; i <= 6; i++) await log.append(uplinks, 0, [uplink('ann', i)])
    await cut(4n)
    const getPath = async (path: string, signal: AbortSignal) =>
      (await once(get(`${url}${path}`, { headers: key, signal }), 'response') as [IncomingMessage])[0]
    const remote = await openRemoteLog({ get: getPath })
    t.teardown(() => remote.close())
    for (const range of [{ from: 1n }, { from: 1n, to: 3n }, { from: 1n, key: 'ann' }, { from: 4n }]) {
      const told: string[] = []
      const passed = (hole: { from: bigint, to: bigint }) => { told.push(`${hole.from}-${hole.to}`) }
      for await (const { offset } of remote.read(uplinks, 0, { ...range, passed })) told.push(`${offset}`)
      t.strictSame(told, range.from === 4n ? ['4', '5'] : range.to ? ['1-3'] : ['1-4', '4', '5'])
    }
  })
})
