import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type ConnectionRow, connectionRow } from '../../evidence/history/row.js'
import { userKey } from '../../schemas/apps.js'
import type { ConnectionEnded } from '../../schemas/records.js'
import { ended, historyLog, lost, noon } from './connection-rows.js'
import { files, history, ledgerline, parquet } from './history-command.js'

const dayMs = 86_400_000

t.test('an export into a file', async t => {
  t.test('parquet has typed columns in groups of rows, and all that the stream has', async t => {
    const { directory, data, rows } = await given(t, 60_000)
    const out = join(directory, 'all.parquet')
    t.match(await history(data, '--out', out), '60,000 connections in 1 new file')
    const [{ groups, types }, ...found] = await parquet(out)
    t.strictSame(groups, Array(6).fill(10_000))
    t.match(types, { closedAt: 'INT64 TIMESTAMP_MILLIS', code: 'BYTE_ARRAY UTF8', bytesIn: 'INT64', roundTripMs: 'INT32' })
    t.ok(same(sorted(found.map(fromParquet)), sorted(rows)))
  })

  t.test('parquet has null for what nobody knows of a lost node, beside others and in a file of its own', async t => {
    const { directory, data, rows, append } = await given(t, 10)
    const gone = [0, 1, 2].map(n => lost('u3', `lost${n}`, { uplinks: n, closedAtMs: noon + n }))
    await append(gone)
    for (const [user, wanted] of [['u3', [...gone, rows[3]!]], ['u4', [rows[4]!]]] as const) {
      const out = join(directory, `${user}.parquet`)
      await history(data, '--user', user, '--out', out)
      const [, ...found] = await parquet(out)
      t.strictSame(sorted(found.map(fromParquet)), sorted(wanted.map(connectionRow)))
    }
    await append([lost('dan', 'c1')])
    await history(data, '--user', 'dan', '--out', join(directory, 'dan.parquet'))
    const [, alone] = await parquet(join(directory, 'dan.parquet'))
    t.match(alone, { connectionId: 'c1', bytesIn: null, uplinks: null, roundTripMs: null })
  })

  t.test('has those of a user, of a while and of a partition', async t => {
    const { data, rows } = await given(t, 400)
    const ndjson = async (...options: string[]) => (await history(data, '--json', ...options)).split('\n').slice(0, -1)
      .map(line => JSON.parse(line) as ConnectionEnded)
    t.strictSame(sorted(await ndjson()), sorted(rows))
    t.strictSame(sorted(await ndjson('--user', 'u7')), sorted(rows.filter(({ userId }) => userId === 'u7')))
    const second = rows.filter(row => dayOf(row) === Math.floor(noon / dayMs) + 1)
    t.strictSame(sorted(await ndjson('--since', '2026-11-21T00:00Z', '--until', '2026-11-22T00:00Z')), sorted(second))
    t.equal((await ndjson('--partition', '0')).length + (await ndjson('--partition', '1')).length, rows.length)
  })

  t.test('has those of an app alone, into a directory that is for no other', async t => {
    const { directory, data, rows, append } = await given(t, 10)
    const ofShop = ended(userKey('shop', 'u3'), 'c-shop', { closedAtMs: noon })
    await append([ofShop])
    const wanted = sorted([connectionRow(ofShop)])
    const ndjson = async (...options: string[]) =>
      sorted((await history(data, '--json', ...options)).split('\n').slice(0, -1).map(line => JSON.parse(line) as ConnectionRow))
    t.strictSame(await ndjson('--app', 'shop'), wanted)
    t.strictSame(await ndjson('--app', 'shop', '--user', 'u3'), wanted)
    t.strictSame(await ndjson('--app', 'bank', '--user', 'u3'), [])
    t.strictSame(await ndjson('--user', 'u3'), sorted(rows.filter(({ userId }) => userId === 'u3')))
    t.strictSame(await ndjson(), sorted([...rows, connectionRow(ofShop)]))
    const out = join(directory, 'shop/')
    await history(data, '--app', 'shop', '--out', out)
    t.strictSame(await exported(out), wanted)
    await t.rejects(history(data, '--out', out), { code: 2, stderr: /it has connections of all users of the app shop in it, as parquet; give/ })
  })

  t.test('is refused in words that help, with exit code 2', async t => {
    const { data } = await given(t, 1)
    const cases: [string[], RegExp][] = [
      [['--out', 'x.txt'], /--out: got "x.txt", want --format/],
      [['--format', 'xml'], /xml/],
      [['--since', 'yesterday'], /--since: got "yesterday"/],
      [['--since', '1h', '--until', '2h'], /--since 1h is not before --until 2h/],
    ]
    for (const [options, message] of cases) {
      await t.rejects(history(data, ...options), { code: 2, stderr: message }, options.join(' '))
    }
  })
})

t.test('an export into a directory', async t => {
  t.test('has a file for each day and partition, and adds only what is new', async t => {
    const world = await given(t, 300)
    const out = join(world.directory, 'out/')
    t.match(await history(world.data, '--out', out), '300 connections in 6 new files')
    const before = await files(out)
    t.strictSame([...new Set(before.map(path => path.split('/')[0]))], ['day=2026-11-20', 'day=2026-11-21', 'day=2026-11-22'])
    t.match(await history(world.data, '--out', out), '0 connections in 0 new files')
    const more = [ended('u1', 'new', { closedAtMs: noon + dayMs })]
    await world.append(more)
    t.strictSame(JSON.parse(await history(world.data, '--out', out, '--json')), {
      out, stream: 'connections', format: 'parquet', rows: 1, files: 1, repeats: 0, blocksGone: 0,
    })
    t.strictSame((await files(out)).filter(path => before.includes(path)), before)
    t.strictSame(await exported(out), sorted([...world.rows, ...more]))
    await t.rejects(history(world.data, '--out', out, '--format', 'csv'), { code: 2, stderr: /give another directory/ })
  })

  t.test('goes on after kill -9 anywhere, and has each row once', async t => {
    const { directory, data, rows } = await given(t, 120_000)
    const out = join(directory, 'out/')
    let kills = 0
    for (let waitMs = 150; kills < 8; waitMs += 200) {
      const child = spawn(process.execPath, [ledgerline, 'history', '--data', data, '--out', out, '--no-progress'], {
        stdio: 'ignore',
      })
      t.teardown(() => child.kill('SIGKILL'))
      const exit = once(child, 'exit')
      await Promise.race([delay(waitMs), exit])
      if (child.exitCode !== null) break
      child.kill('SIGKILL')
      await exit
      kills++
    }
    t.ok(kills > 0, `${kills} kills`)
    await history(data, '--out', out)
    t.ok(same(await exported(out), sorted(rows)))
    t.notOk((await readdir(out)).some(name => name.startsWith('_draft-')), 'and no draft is left')
    const state = JSON.parse(await readFile(join(out, '_ledgerline.json'), 'utf8')) as { rows: number }
    t.equal(state.rows, rows.length)
  })
})

/** A data directory of two partitions with rows of three days; nobody has it open. */
async function given (t: Test, count: number) {
  const directory = t.testdir()
  const data = join(directory, 'data')
  const rows = Array.from({ length: count }, (_, n) => ended(`u${n % 97}`, `c${n}`, {
    closedAtMs: noon + Math.floor(n * 3 / count) * dayMs + n % 1000, bytesIn: n * 1001, roundTripMs: n % 50 - 1,
  }))
  const append = async (rows: readonly ConnectionEnded[]) => {
    const { append, clock, close } = await historyLog(t, data)
    for (let at = 0, end = 0; at < rows.length; at = end) {
      clock.nowMs = rows[at]!.closedAtMs + 2000
      while (end < rows.length && end < at + 500 && dayOf(rows[end]!) === dayOf(rows[at]!)) end++
      await append(rows.slice(at, end))
    }
    await close()
  }
  await append(rows)
  return { directory, data, rows, append }
}

/** All rows of a directory. */
async function exported (out: string): Promise<string[]> {
  const lines = await parquet(...(await files(out)).map(path => join(out, path)))
  return sorted(lines.filter(line => !('groups' in line)).map(fromParquet))
}

function fromParquet ({ openedAt, closedAt, app, ...row }: Record<string, any>): ConnectionRow {
  const times = { openedAtMs: Date.parse(openedAt as string), closedAtMs: Date.parse(closedAt as string) }
  return { ...row, ...times, ...app === '' ? {} : { app } } as ConnectionRow
}

function dayOf ({ closedAtMs }: ConnectionEnded): number {
  return Math.floor(closedAtMs / dayMs)
}

/** Without the difference, which would be the whole file. */
function same (found: readonly string[], wanted: readonly string[]): boolean {
  return found.length === wanted.length && found.every((row, i) => row === wanted[i])
}

/** Comparable, whatever the order of rows and fields. */
function sorted (rows: readonly ConnectionRow[]): string[] {
  return rows.map(row => JSON.stringify(Object.entries(row).sort(([a], [b]) => a < b ? -1 : 1))).sort()
}
