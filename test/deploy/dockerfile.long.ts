import { execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Copy, ignoredBy, instructionsOf } from './dockerfile.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const stages = instructionsOf(readFileSync(join(root, 'Dockerfile'), 'utf8'))

/* Without Docker: what each stage copies and runs, in a folder of its own, with the Node.js that runs the test. */
t.test('The stages of the Dockerfile', { timeout: 900_000 }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'ledgerline-image-'))
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  const context = join(folder, 'context')
  const isIgnored = ignoredBy(readFileSync(join(root, '.dockerignore'), 'utf8'))
  for (const path of execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n')) {
    if (!isIgnored(path)) cpSync(join(root, path), join(context, path))
  }

  const placeOf = (stage: string | undefined) => stage === undefined ? context : join(folder, stage)
  /** `/app` of a stage is its folder. */
  const copy = ({ stage, from, to }: Copy, into: string) => {
    for (const path of from) {
      const source = join(placeOf(stage), path.replace(/^\/app\//, ''))
      const isWhole = from.length === 1 && !to.endsWith('/')
      const target = isWhole ? join(into, to) : join(into, to, path.split('/').at(-1)!)
      cpSync(source, target, { recursive: true, verbatimSymlinks: true })
    }
  }

  const [build, image] = stages
  t.test('build', async () => {
    const into = placeOf(build!.name)
    mkdirSync(into, { recursive: true })
    for (const each of build!.copies) {
      copy(each, into)
      const run = build!.runs[build!.copies.indexOf(each)]! // each RUN follows its COPY
      execFileSync('/bin/sh', ['-c', run], { cwd: into, stdio: ['ignore', 'ignore', 'pipe'] })
    }
  })

  t.test('start', async t => {
    const into = placeOf('image')
    mkdirSync(into, { recursive: true })
    for (const each of image!.copies) copy(each, into)
    symlinkSync(join(into, 'dist/cli/ledgerline.js'), join(folder, 'ledgerline'))
    const args = ['start', '--http-port', '0', '--tcp-port', '0', '--data', join(folder, 'data')]
    const child = spawn(join(folder, 'ledgerline'), args, {
      cwd: folder, env: { PATH: process.env['PATH'], NODE_ENV: 'production' }, stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => { child.kill('SIGKILL') })
    const exit = new Promise<number | null>(resolve => { child.once('exit', resolve) })
    const http = await new Promise<string>(resolve => {
      createInterface({ input: child.stdout }).on('line', line => {
        const { msg, http } = JSON.parse(line)
        if (msg === 'ready') resolve(http)
      })
    })
    t.equal((await fetch(`${http}/healthz`)).status, 200)
    t.equal((await fetch(`${http}/console`)).status, 200)
    child.kill('SIGTERM')
    t.equal(await exit, 0)
  })
})
