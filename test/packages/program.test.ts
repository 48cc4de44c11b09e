import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { packAll } from './packed.js'

/** A folder that has nothing of this repository above it, where modules would be looked for. */
function emptyFolder (): string {
  const folder = mkdtempSync(join(tmpdir(), 'ledgerline-'))
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  return folder
}

const { PATH = '', HOME = '' } = process.env
const env = { PATH, HOME }

t.test('ledgerline', { timeout: 300_000 }, async t => {
  const folder = emptyFolder()
  const tarball = packAll(folder).ledgerline
  const { status, stderr } = spawnSync('npm', ['install', tarball, '--prefer-offline', '--no-audit', '--no-fund'],
    { cwd: folder, env, encoding: 'utf8' })
  if (status !== 0 && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENOTCACHED/.test(stderr)) {
    t.pass('not installed: no registry of npm packages can be reached', { skip: true })
    return
  }
  t.equal(status, 0, stderr)
  const ledgerline = (...args: string[]) =>
    execFileSync('npx', ['--no-install', 'ledgerline', ...args], { cwd: folder, env, encoding: 'utf8' })

  t.test('needs no development dependency', async t => {
    const { devDependencies } = JSON.parse(readFileSync(join(folder, 'node_modules/ledgerline/package.json'), 'utf8'))
    const { packages } = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'))
    const ours = ['typescript', 'esbuild', 'tap', 'preact', 'fast-check', 'playwright-core']
    t.strictSame(ours.filter(name => name in devDependencies), ours)
    t.strictSame(ours.filter(name => `node_modules/${name}` in packages), [])
  })

  t.test('starts from an empty folder, takes a push, and has its console', async t => {
    // A group of its own: npx hands no signal on.
    const child = spawn('npx', ['--no-install', 'ledgerline', 'start', '--http-port', '0', '--tcp-port', '0'],
      { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
    const kill = () => { try { process.kill(-child.pid!, 'SIGKILL') } catch {} }
    process.on('exit', kill)
    t.teardown(kill)
    const logged: Array<{ readonly msg: string, readonly http: string }> = []
    const ready = new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', line => {
        logged.push(JSON.parse(line))
        if (logged.at(-1)!.msg === 'ready') resolve(logged.at(-1)!.http)
      })
      child.once('exit', code => { reject(new Error(`it ended with ${code}`)) })
    })
    const http = await ready
    t.match(ledgerline('push', 'ann', 'hello', '--url', http), /ann/)
    const page = await (await fetch(`${http}/console`)).text()
    const [, script] = /src="([^"]+)"/.exec(page)!
    t.equal((await fetch(new URL(script!, http))).status, 200)
    const gone = once(child, 'close')
    process.kill(-child.pid!, 'SIGTERM')
    await gone
    t.match(logged.at(-1), { msg: 'stopped' })
  })

  t.test('has its schemas and its documentation', async t => {
    t.match(JSON.parse(readFileSync(join(folder, 'node_modules/ledgerline/schemas/streams/uplinks.avsc'), 'utf8')), { type: 'record' })
    t.match(readFileSync(join(folder, 'node_modules/ledgerline/docs/operations.md'), 'utf8'), /^# Operations/)
  })
})
