import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { browserPath, flags } from '../client/page.js'
import { startProcess, tokenFor } from '../faults/node-process.js'
import { packAll } from './packed.js'
import { tools } from './tools.js'

/*
  Applications that are built, or run, by the tools that people use, with the client from its tarball: each sends one
  uplink to a gateway. What the registry does not have is skipped.
*/

const packed = mkdtempSync(join(tmpdir(), 'ledgerline-packed-'))
t.teardown(() => { rmSync(packed, { recursive: true, force: true }) })
const tarball = packAll(packed)['@ledgerline/client']

const given = process.env as Record<string, string>
const env = { PATH: given['PATH']!, HOME: given['HOME']!, CI: 'true', NEXT_TELEMETRY_DISABLED: '1' }

/** Serves a folder, on this machine alone. */
async function serve (t: Test, folder: string): Promise<string> {
  const types: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }
  const server = createServer(({ url = '/' }, response) => {
    const path = join(folder, new URL(url, 'http://a').pathname.replace(/\/$/, '/index.html'))
    if (!existsSync(path)) return response.writeHead(404).end()
    response.setHeader('content-type', types[extname(path)] ?? 'application/octet-stream')
    response.end(readFileSync(path))
  }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

async function titleOf (t: Test, url: string): Promise<string> {
  const browser = await chromium.launch({ executablePath: browserPath, args: flags })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  page.on('pageerror', error => t.fail(`the page failed: ${error.message}`))
  await page.goto(url)
  await page.waitForFunction('document.title.startsWith("sent")')
  return await page.title()
}

for (const [name, { packages, files, command, pages }] of Object.entries(tools)) {
  t.test(`@ledgerline/client works with ${name}`, { timeout: 400_000 }, async t => {
    const folder = mkdtempSync(join(tmpdir(), 'ledgerline-app-'))
    t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }')
    cpSync(tarball, join(folder, 'client.tgz'))
    const installed = spawnSync('npm', ['install', './client.tgz', ...packages, '--prefer-offline', '--no-audit', '--no-fund'],
      { cwd: folder, env, encoding: 'utf8' })
    if (installed.status !== 0) {
      t.pass(`not to be had: ${/npm error (.*)/.exec(installed.stderr)?.[1]}`, { skip: true })
      return
    }
    const node = await startProcess(t, t.testdir())
    const texts = files({ endpoint: node.http.replace('http', 'ws'), token: await tokenFor('ann') })
    for (const [path, text] of Object.entries(texts)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    const path = `${join(folder, 'node_modules/.bin')}:${env.PATH}`
    const { status, stdout, stderr } = spawnSync(command[0]!, command.slice(1), {
      cwd: folder, env: { ...env, PATH: path }, encoding: 'utf8', timeout: 300_000,
    })
    if (!t.equal(status, 0, `${stdout}${stderr}`)) return
    if (pages === undefined) return
    t.equal(await titleOf(t, await serve(t, join(folder, pages))), 'sent 1')
    const scripts = readdirSync(join(folder, pages), { recursive: true, encoding: 'utf8' }).filter(path => path.endsWith('.js'))
    t.strictSame(scripts.filter(path => /node:net|require\("ws"\)/.test(readFileSync(join(folder, pages, path), 'utf8'))), [],
      'nothing of Node.js is in it')
  })
}
