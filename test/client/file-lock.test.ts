import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { inFile } from '../../client/node.js'
import { FileLock } from '../../client/storage/file-lock.js'
import { until } from '../faults/node-process.js'

const app = fileURLToPath(new URL('lock-app.js', import.meta.url))
const never = () => {}
const skip = existsSync('/proc/self/stat') ? false : 'no /proc: there the owner is watched, which is tested as well'

t.test('The lock of a file', async t => {
  const given = (t: { testdir (): string }) => `${t.testdir()}/ann.lock`
  /** What a lock of this process says. */
  async function own (path: string) {
    const lock = new FileLock(path)
    await lock.take(never)
    const text = JSON.parse(readFileSync(path, 'utf8'))
    await lock.release()
    return text
  }
  async function isFree (path: string): Promise<boolean> {
    const lock = new FileLock(path)
    try {
      await lock.take(never)
    } catch (err) {
      if ((err as { code?: string }).code === 'busy') return false
      throw err
    }
    await lock.release()
    return true
  }

  t.test('is busy while somebody of this process has it, and free after that', async t => {
    const path = given(t)
    const lock = new FileLock(path)
    await lock.take(never)
    t.equal(await isFree(path), false)
    await lock.release()
    t.equal(existsSync(path), false)
    t.equal(await isFree(path), true)
  })

  t.test('is free where the pid in it is that of another process by now', { skip }, async t => {
    const path = given(t)
    const us = await own(path)
    const startedAt = String(Number(us.startedAt) - 1)
    for (const stale of [{ ...us, startedAt }, { ...us, bootId: 'an earlier one' }, { ...us, pid: process.ppid, startedAt: '1' }]) {
      writeFileSync(path, JSON.stringify(stale))
      t.equal(await isFree(path), true, JSON.stringify(stale))
    }
    writeFileSync(path, JSON.stringify(us))
    t.equal(await isFree(path), false, 'and it is not where it is that process still')
  })

  t.test('is free when its process is gone, or was an earlier one with the pid of this one', async t => {
    const path = given(t)
    const { pid } = spawnSync(process.execPath, ['--version'])
    for (const text of [JSON.stringify({ pid, host: hostname(), id: 'x' }), `${pid}\n`, `${process.pid}\n`]) {
      writeFileSync(path, text)
      t.equal(await isFree(path), true, text)
    }
  })

  t.test('is taken from an owner that can not be seen once nobody touched it for long', async t => {
    const path = given(t)
    const texts = [`${process.ppid}\n`, '', JSON.stringify({ pid: 7, host: 'another', bootId: 'x', id: 'y' })]
    let nowMs = 1_000
    t.intercept(performance, 'now', { value: () => nowMs })
    for (const text of texts) {
      writeFileSync(path, text)
      const lock = new FileLock(path)
      const take = async () => await lock.take(never)
      await t.rejects(take, { code: 'busy', message: /may have it, which shows within 10 s/ })
      nowMs += 9_000
      await t.rejects(take, { code: 'busy' })
      utimesSync(path, new Date(), new Date(Date.now() + nowMs))
      nowMs += 9_000
      await t.rejects(take, { code: 'busy' }, 'its owner lives: it touched it')
      nowMs += 10_000
      await take()
      await lock.release()
    }
  })

  t.test('is touched by its owner, who hears when it was taken all the same', async t => {
    const path = given(t)
    const lock = new FileLock(path)
    let lost = 0
    await lock.take(() => lost++)
    utimesSync(path, 0, 0)
    const text = readFileSync(path, 'utf8')
    await until(() => statSync(path).mtimeMs > 0)
    writeFileSync(path, text.replace(/"id":"./, '"id":"z'))
    await until(() => lost > 0)
    await lock.release()
    t.equal(lost, 1)
    t.equal(existsSync(path), true, 'and leaves it to its new owner')
  })

  t.test('keeps processes apart that take it in turn, also when one is killed', { timeout: 230_000 }, async t => {
    const folder = t.testdir()
    const [path, log] = [`${folder}/ann`, `${folder}/log`]
    writeFileSync(log, '')
    const begin = (count: number) => {
      const child = spawn(process.execPath, [app, path, log, String(count)], { stdio: ['ignore', 'ignore', 'inherit'] })
      t.teardown(() => child.kill('SIGKILL'))
      return { child, exit: once(child, 'exit') }
    }
    const workers = [begin(20), begin(20), begin(20)]
    for (let i = 1; i <= 4; i++) {
      const victim = begin(1e9)
      const lines = () => readFileSync(log, 'utf8').split('\n').length
      const before = lines()
      await until(() => lines() > before + 2)
      await setTimeout(Math.random() * 20)
      victim.child.kill('SIGKILL')
      await victim.exit
    }
    for (const { exit } of workers) t.strictSame(await exit, [0, null])
    const numbers = readFileSync(log, 'utf8').trim().split('\n')
    t.equal(new Set(numbers).size, numbers.length, 'no number twice')
    t.notOk(numbers.includes('lost'))
    t.ok(numbers.length >= 60)
    const storage = inFile(path)
    await until(async () => {
      try {
        return await storage.open(never)
      } catch {
        return false // of one that was killed while it took it
      }
    })
    await storage.close()
    t.strictSame(readdirSync(folder).filter(name => name.includes('.lock')), [])
  })
})
