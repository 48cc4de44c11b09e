import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { open as openFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { embeddedLog } from '../../ledger/embedded/log.js'
import { openStoredLog, type StoredLogOptions } from '../../ledger/embedded/reader.js'
import { openStore } from '../../ledger/embedded/store.js'
import { collect, note, notes, noteStream } from './log-contract.js'

const appender = fileURLToPath(new URL('./appender.js', import.meta.url))

/** A directory in which a node has closed its log. */
async function givenDirectory (t: Test, count = 5) {
  const directory = t.testdir()
  const stream = noteStream()
  const store = await openStore({ directory, headroomBytes: 1 << 20 })
  const log = embeddedLog(store, { partitions: 2 })
  for (const item of notes(count)) await log.append(stream, 1, [item])
  await store.close()
  return { directory, stream }
}

async function opened (t: Test, directory: string, options: StoredLogOptions = {}) {
  const log = await openStoredLog(directory, options)
  t.teardown(() => log.close())
  return log
}

/** Of every file but LMDB's lock file, in which each process that reads has its place. */
async function hashes (directory: string) {
  const names = (await readdir(directory)).filter(name => name !== 'lock.mdb').sort()
  return await Promise.all(names.map(async name =>
    `${name} ${createHash('sha256').update(await readFile(join(directory, name))).digest('hex')}`))
}

/** A process that appends until it is killed. @returns what it was told is durable */
async function givenAppender (t: Test, directory: string, lines: number) {
  const child = spawn(process.execPath, [appender, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const printed: string[] = []
  const reader = createInterface(child.stdout)
  reader.on('line', line => printed.push(line))
  while (printed.length < lines) await once(reader, 'line')
  return { child, printed }
}

t.test('a data directory that no process has open', async t => {
  await t.test('is read as it was left, and stays as it is', async t => {
    const { directory, stream } = await givenDirectory(t, 300)
    const before = await hashes(directory)
    const log = await opened(t, directory)
    t.equal(log.partitions(stream), 2)
    t.strictSame(await log.bounds(stream, 1), { first: 0n, next: 300n })
    t.strictSame(await collect(log.read(stream, 1, { from: 0n })), notes(300).map(({ text }) => text))
    t.strictSame(await collect(log.read(stream, 1, { from: 298n, key: 'ada' })), ['n298', 'n299'])
    t.equal(await log.offsetAt(stream, 1, Date.now() + 1000), 300n)
    t.strictSame(await collect(log.read(noteStream(), 0, { from: 0n })), [], 'also for a stream that it does not have')
    await log.close()
    t.strictSame(await hashes(directory), before)
  })

  await t.test('is opened by a node afterwards', async t => {
    const { directory, stream } = await givenDirectory(t)
    await (await openStoredLog(directory)).close()
    const store = await openStore({ directory })
    t.teardown(() => store.close())
    t.equal((await embeddedLog(store).append(stream, 1, [note('new')])).offset, 5n)
  })

  await t.test('has all that was durable when its process was killed', async t => {
    const directory = t.testdir()
    const { child, printed } = await givenAppender(t, directory, 400)
    child.kill('SIGKILL')
    await once(child, 'close')
    const before = await hashes(directory)
    const log = await opened(t, directory)
    const stream = { ...noteStream(), name: 'crash' }
    const stored = new Set<string>()
    for (let partition = 0; partition < log.partitions(stream); partition++) {
      for await (const { offset, items } of log.read(stream, partition, { from: 0n })) {
        for (const { text } of items) stored.add(`${partition} ${offset} ${text}`)
      }
    }
    t.strictSame(printed.filter(line => !stored.has(line)), [])
    await log.close()
    t.strictSame(await hashes(directory), before)
  })

  await t.test('is read without its damaged blocks, which are told of', async t => {
    const { directory, stream } = await givenDirectory(t)
    const path = join(directory, 'data.mdb')
    const bytes = await readFile(path)
    const file = await openFile(path, 'r+')
    for (let at = bytes.indexOf('"n2"'); at !== -1; at = bytes.indexOf('"n2"', at + 1)) await file.write('#', at)
    await file.close()
    const before = await hashes(directory)
    const damages: unknown[] = []
    const log = await opened(t, directory, { onDamage: damage => damages.push(damage) })
    t.strictSame(await collect(log.read(stream, 1, { from: 0n })), ['n0', 'n1', 'n3', 'n4'])
    t.strictSame(await collect(log.read(stream, 1, { from: 1n })), ['n1', 'n3', 'n4'])
    t.strictSame(damages, [{ stream: stream.name, partition: 1, offset: 2n, reason: 'its checksum is wrong' }])
    await log.close()
    t.strictSame(await hashes(directory), before)
  })
})

t.test('a data directory is refused', async t => {
  await t.test('while a process has it open', async t => {
    const directory = t.testdir()
    const { child } = await givenAppender(t, directory, 20)
    await t.rejects(openStoredLog(directory), { name: 'StoreError', code: 'in-use', message: RegExp(`process ${child.pid}`) })
  })

  await t.test('while this process has it open', async t => {
    const { directory } = await givenDirectory(t)
    await opened(t, directory)
    await t.rejects(openStoredLog(directory), { code: 'in-use' })
    await t.rejects(openStore({ directory }), { code: 'in-use' })
  })

  await t.test('where there is none, and none is made', async t => {
    const directory = t.testdir({ file: '' })
    await t.rejects(openStoredLog(directory), { code: 'absent' })
    await t.rejects(openStoredLog(join(directory, 'missing')), { code: 'absent' })
    t.strictSame(await readdir(directory), ['file'])
  })

  await t.test('where a newer Ledgerline wrote it', async t => {
    const { directory } = await givenDirectory(t)
    await writeFile(join(directory, 'ledgerline.json'), '{"program":"ledgerline","format":4}\n')
    await t.rejects(openStoredLog(directory), { code: 'newer-format' })
  })

  await t.test('where its data file was cut off', async t => {
    const { directory } = await givenDirectory(t)
    const file = await openFile(join(directory, 'data.mdb'), 'r+')
    await file.truncate(8192)
    await file.close()
    await t.rejects(openStoredLog(directory), { code: 'damaged' })
  })
})
