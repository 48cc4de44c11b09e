import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { compareFolds } from '../../evidence/replay/sandbox.js'
import { closed, minute, opened, reported, requested, uplink } from '../actors/user/history.js'
import { StoredLog } from './stored-log.js'

const actorsFolder = fileURLToPath(new URL('../../actors', import.meta.url))

/** This build's fold in a directory of its own, with one piece of it replaced. */
async function anotherBuild (t: Test, file: string, before: string, after: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-fold-'))
  t.teardown(() => rm(directory, { recursive: true }))
  await cp(actorsFolder, join(directory, 'actors'), { recursive: true })
  await cp(join(actorsFolder, '../schemas'), join(directory, 'schemas'), { recursive: true })
  const path = join(directory, 'actors/user', file)
  const source = await readFile(path, 'utf8')
  if (!source.includes(before)) throw new Error(`${file} has no ${JSON.stringify(before)}`)
  await writeFile(path, source.replace(before, after))
  return directory
}

t.test('A replay into another build\'s fold', async t => {
  const stored = await StoredLog.open(t)
  await stored.at(1_000, 'ann', opened('c1'), uplink('c1', 1), requested('m1'), reported('c1', 1))
  const gap = await stored.at(2_000, 'ann', uplink('c1', 3))
  await stored.at(3_000, 'bob', opened('b1'), closed('b1'), requested('m2'), requested('m3'), opened('b2'))
  const compared = async (path: string, options = {}) =>
    await compareFolds(stored.log, await stored.everything(), path, options)

  await t.test('finds no difference where there is none', async t => {
    const path = await anotherBuild(t, 'fold.js', 'export function fold', 'export function fold')
    t.match(await compared(path), {
      entries: 10, users: 2, differingEntries: 0, differingUsers: 0, failedUsers: 0, byKind: {}, differences: [],
    })
  })
  await t.test('finds none where the other build keeps more in its outbox than it sends', async t => {
    const path = await anotherBuild(t, 'messages.js', 'return {\n        number,', 'return {\n        note: "x",\n        number,')
    t.match(await compared(path), { differingEntries: 0, byKind: {} })
  })
  await t.test('names the entries that are answered otherwise, and both answers', async t => {
    const path = await anotherBuild(t, 'fold.js', 'if (seq > expected)', 'if (seq > expected + 5)')
    t.match(await compared(path), {
      differingEntries: 1,
      differingUsers: 1,
      byKind: { refusals: 1, publishes: 1, acks: 1 },
      differences: [{
        position: gap,
        userId: 'ann',
        fact: 'UplinkReceived',
        production: ['refuse uplinks of c1: gap, expected 2'],
        other: ['publish uplink 3 of phone as the user\'s 2', 'ack uplink 3 as the user\'s 2 to c1'],
      }],
    })
  })
  await t.test('tells which downlinks the other fold alone would have delivered', async t => {
    const path = await anotherBuild(t, 'state.js', 'outboxMax = 1000', 'outboxMax = 1')
    t.match(await compared(path), {
      deliveredOnlyByProduction: 1,
      deliveredOnlyByOther: 0,
      byKind: { settles: 1, deliveries: 1, welcomes: 1 },
      differences: [{ userId: 'bob', fact: 'DownlinkRequested', production: [], other: [/m2 dropped \(outbox-full\)/] }],
    })
  })
  await t.test('does not count as lost what the other fold delivers later', async t => {
    const late = await StoredLog.open(t)
    const path = await anotherBuild(t, 'sending.js', "effects.push({ type: 'deliver'", "void ({ type: 'deliver'")
    const lost = async () => (await compareFolds(late.log, await late.everything(), path)).deliveredOnlyByProduction
    await late.at(1_000, 'ann', opened('c1'), requested('m1'))
    t.equal(await lost(), 1)
    await late.at(2_000, 'ann', closed('c1'), opened('c2'))
    t.equal(await lost(), 0)
  })
  await t.test('leaves other users, and what is before its range, out of the account', async t => {
    const path = await anotherBuild(t, 'fold.js', 'if (seq > expected)', 'if (seq > expected + 5)')
    t.match(await compared(path, { userId: 'bob' }), { entries: 5, users: 1, differingEntries: 0 })
    const ranges = (await stored.everything()).map(range => ({ ...range, from: range.to }))
    t.match(await compareFolds(stored.log, ranges, path), { entries: 0, differingEntries: 0 })
  })
  await t.test('goes on with other users where it fails on one', async t => {
    const path = await anotherBuild(t, 'fold.js', 'if (seq > expected)', 'if (seq > expected) throw new Error("oops"); if (0)')
    t.match(await compared(path), {
      failedUsers: 1, differingUsers: 1, byKind: { failed: 1 }, differences: [{ other: ['failed: oops'] }],
    })
  })
  for (const means of ['process.exit()', 'fetch("http://127.0.0.1")', 'setTimeout(() => {})', 'require("node:fs")']) {
    await t.test(`gives it nothing to reach out with: ${means}`, async t => {
      const path = await anotherBuild(t, 'fold.js', 'const { fact } = entry', `${means}; const { fact } = entry`)
      t.match(await compared(path), { failedUsers: 2, differences: [{ other: [/^failed: \w+ is not defined$/] }, {}] })
    })
  }
  await t.test('is refused where the fold imports a module of Node', async t => {
    const path = await anotherBuild(t, 'fold.js', 'import {', 'import "node:net"; import {')
    await t.rejects(compared(path), { message: /fold\.js imports "node:net", and a fold does no I\/O/ })
  })
  await t.test('is refused where there is no fold, or it lacks what it needs', async t => {
    await t.rejects(compared(t.testdir()), { message: /want the fold\.js of a build, or the directory/ })
    const path = await anotherBuild(t, 'state.js', 'export function newUser', 'export function other')
    await t.rejects(compared(path), { message: /newUser/ })
  })
})

t.test('A replay over many entries', async t => {
  await t.test('gives the sandbox no more than it takes', async t => {
    const stored = await StoredLog.open(t)
    const facts = Array.from({ length: 12 }, (_, i) => [opened(`c${i}`), closed(`c${i}`)]).flat()
    for (let i = 0; i < 12; i++) await stored.at(minute * i, `user${i}`, ...facts)
    const path = await anotherBuild(t, 'fold.js', 'export function fold', 'export function fold')
    const report = await compareFolds(stored.log, await stored.everything(), path)
    t.match(report, { entries: 288, users: 12, differingEntries: 0 })
  })
})
