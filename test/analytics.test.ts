import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { connections, offline, presence, receipts, type Stream } from '../schemas/streams.js'
import { plantedOffline, plantedPresence, plantedReceipts, plantedRows } from './analytics-rows.js'
import { analyticsPythonMissing, findAnalyticsPython } from './cluster/python.js'
import { historyLog } from './evidence/connection-rows.js'

const page = readFileSync(new URL('../../docs/analytics.md', import.meta.url), 'utf8')
const ledgerline = fileURLToPath(new URL('../cli/ledgerline.js', import.meta.url))
const run = promisify(execFile)

/** Runs the statements of a JSON array, and prints what the last one gives: [columns, ...rows]. */
const duckdb = `
import duckdb, json, sys
for statement in json.loads(sys.argv[1]):
    found = duckdb.sql(statement)
print(json.dumps([found.columns, *found.fetchall()], default=str))
`

/** By the words of its heading: what the rows were made up with. */
const planted: Record<string, unknown[][]> = {
  'Why do connections die': [
    ['android', 'app/2.1', 'disconnected', 180, 90],
    ['android', 'app/2.1', 'connection-lost', 10, 5],
    ['android', 'app/2.1', 'heartbeat-timeout', 10, 5],
    ['ios', 'app/2.0', 'disconnected', 90, 90],
    ['ios', 'app/2.0', 'migrating', 8, 8],
    ['ios', 'app/2.0', 'heartbeat-timeout', 2, 2],
    ['ios', 'app/2.1', 'disconnected', 75, 75],
    ['ios', 'app/2.1', 'heartbeat-timeout', 20, 20],
    ['ios', 'app/2.1', 'migrating', 5, 5],
    ['tv', 'tv/1.0', 'connection-lost', 10, 100],
    ['web', 'app/2.1', 'disconnected', 50, 100],
  ],
  'How long do sessions': [['android', 200, 200, 360], ['ios', 200, 100, 180], ['tv', 10, 2, 2], ['web', 50, 60, 60]],
  'How long are devices away': [
    ['android', 180, 0, 30, 30], ['ios', 167, 13, 5, 5], ['tv', 9, 0, 1, 1], ['web', 45, 0, 600, 600],
  ],
  'Which networks': [
    ['Bluecell', '10.20', 200, 22, 11], ['Northwave', '100.64', 200, 10, 5], ['unknown', '192.0', 60, 0, 0],
  ],
  'How far away': [['android', 200, 124, 128], ['ios', 200, 44, 48]],
  'Which devices flap': [['g4-user0', 'g4-user0-phone', 'tv/1.0', '2026-11-19 08:00:00', 10, 2]],
  'What do bytes cost': [
    ['android', 'app/2.1', 20, 2, 100], ['ios', 'app/2.0', 10, 1, 100], ['ios', 'app/2.1', 10, 1, 100],
    ['web', 'app/2.1', 5, 0.5, 100], ['tv', 'tv/1.0', 1, 0.1, 100],
  ],
  'What came next': [['android', 200, 180], ['ios', 200, 180], ['tv', 10, 9], ['web', 50, 45]],
  'How long are users online': [['2026-11-19', 5, 12, 2.4], ['2026-11-20', 1, 1.5, 1.5]],
  'Which downlinks are acked': [['orders', 100, 90, 90], ['chat', 50, 48, 96]],
  'Who comes back': [['chat', 10, 5, 90], ['orders', 20, 8, 120]],
}

t.test('docs/analytics.md', { skip: analyticsPythonMissing() ?? false, timeout: 300_000 }, async t => {
  const python = findAnalyticsPython()!
  const directory = t.testdir()
  const data = join(directory, 'data')
  const rows = plantedRows()
  const { append, clock, close } = await historyLog(t, data)
  const put = async <T extends { readonly userId: string }>(
    stream: Stream<T>, rows: readonly T[], atMs: (row: T) => number
  ) => {
    for (const row of rows) {
      clock.nowMs = atMs(row) + 500
      await append([row], stream)
    }
  }
  await put(connections, rows, ({ closedAtMs }) => closedAtMs)
  await put(presence, plantedPresence(), ({ atMs }) => atMs)
  await put(receipts, plantedReceipts(), ({ settledAtMs }) => settledAtMs)
  await put(offline, plantedOffline(), ({ atMs }) => atMs)
  await close()
  for (const [stream, out] of Object.entries({ connections: 'history/', presence: 'presence/', receipts: 'receipts/', offline: 'offline/' })) {
    const args = [ledgerline, 'history', '--data', data, '--stream', stream, '--out', out]
    await run(process.execPath, args, { cwd: directory })
  }

  const [, prelude, ...sections] = page.split(/^## Questions$|^### /m)
  const views = blockOf(prelude!, 'sql').split(';')
  const asked = new Set<string>()
  for (const section of sections) {
    const title = section.split('\n')[0]!
    const name = Object.keys(planted).find(start => title.startsWith(start))
    if (name === undefined) continue
    asked.add(name)
    t.test(`${title} is answered with what was planted, and the page shows it`, async t => {
      const statements = JSON.stringify([...views, blockOf(section, 'sql')])
      const { stdout } = await run(python, ['-c', duckdb, statements], { cwd: directory })
      const [columns, ...found] = JSON.parse(stdout) as [string[], ...unknown[][]]
      t.strictSame(found, planted[name])
      t.equal(blockOf(section, 'text'), tableOf([columns, ...found]))
    })
  }
  t.strictSame([...asked], Object.keys(planted), 'every question is asked')

  t.test('in pandas too, and the page shows it', async t => {
    const section = sections.find(section => section.startsWith('The same in pandas'))!
    const { stdout } = await run(python, ['-c', blockOf(section, 'python')], { cwd: directory })
    const [codes, , ...days] = stdout.trimEnd().split('\n').map(line => line.trim().split(/ +/))
    const counts = new Map<string, number>()
    for (const { closedAtMs, code } of rows) {
      const key = `${new Date(closedAtMs).toISOString().slice(0, 10)} ${code}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    const found = days.flatMap(([day, ...cells]) => cells.map((cell, i) => [`${day} ${codes![i + 1]}`, Number(cell)]))
    t.strictSame(Object.fromEntries(found.filter(([, count]) => count !== 0)), Object.fromEntries(counts))
    t.equal(blockOf(section, 'text'), stdout.replace(/ +$/gm, '').trimEnd())
  })
})

/** The first block of a language in some Markdown. */
function blockOf (markdown: string, language: string): string {
  const [, block] = new RegExp(`^\`\`\`${language}\\n([^]*?)\`\`\`$`, 'm').exec(markdown) ?? []
  if (block === undefined) throw new Error(`no block of ${language} in: ${markdown.slice(0, 80)}`)
  return block.trimEnd()
}

/** As the page has it: columns as wide as their widest value. */
function tableOf (rows: readonly (readonly unknown[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map(row => `${row[i]}`.length)))
  return rows.map(row => row.map((value, i) => `${value}`.padEnd(widths[i]!)).join('  ').trimEnd()).join('\n')
}
