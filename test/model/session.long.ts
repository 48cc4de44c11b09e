import { execFile, spawnSync } from 'node:child_process'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

const model = fileURLToPath(new URL('../../../model/session.pml', import.meta.url))
const run = promisify(execFile)

const lacking = [['spin', '-V'], ['cc', '--version']].filter(([program, option]) => spawnSync(program!, [option!]).error)

interface Checked { readonly errors: number, readonly states: number, readonly assertion: string }

/** Looks at all states of the model with these settings, until an assertion is violated. */
async function check (t: Test, settings: readonly string[], optimized = '-O1'): Promise<Checked> {
  const cwd = t.testdir()
  cpSync(model, join(cwd, 'session.pml'))
  await run('spin', ['-a', ...settings.map(each => `-D${each}`), 'session.pml'], { cwd })
  await run('cc', [optimized, '-DSAFETY', '-DNOCLAIM', '-DMEMLIM=2048', '-o', 'pan', 'pan.c'], { cwd })
  const { stdout } = await run('./pan', ['-m200000', '-w22'], { cwd, maxBuffer: 1 << 24 })
  const [, errors] = /errors: (\d+)/.exec(stdout) ?? []
  const [, states] = /(\d[\d.e+]*) states, stored/.exec(stdout) ?? []
  const [, assertion = ''] = /assertion violated (.*) \(at depth/.exec(stdout) ?? []
  if (/max search depth too small|out of memory/.test(stdout)) throw new Error(stdout)
  return { errors: Number(errors), states: Number(states), assertion }
}

/** Small worlds, each with more of something: all at once would be more states than can be looked at in a minute. */
const worlds = {
  'who comes back twice': ['CONNECTIONS=3', 'UPLINKS=0', 'DOWNLINKS=2', 'REPEATS=0', 'CRASHES=0', 'TAKEOVERS=0'],
  'whose window is full': ['CONNECTIONS=2', 'UPLINKS=2', 'DOWNLINKS=1', 'REPEATS=0', 'CRASHES=0', 'TAKEOVERS=0'],
  'whose node crashes, with facts that are stored twice':
    ['CONNECTIONS=2', 'UPLINKS=1', 'DOWNLINKS=2', 'REPEATS=1', 'CRASHES=1', 'TAKEOVERS=0'],
  'whose storage loses its last writes':
    ['CONNECTIONS=2', 'UPLINKS=2', 'DOWNLINKS=0', 'REPEATS=1', 'CRASHES=0', 'TAKEOVERS=1', 'LOSSES=1'],
  'whose owner changes': ['CONNECTIONS=2', 'UPLINKS=1', 'DOWNLINKS=2', 'REPEATS=0', 'CRASHES=0', 'TAKEOVERS=1'],
}
const brokenWorld = ['CONNECTIONS=2', 'UPLINKS=1', 'DOWNLINKS=2', 'REPEATS=1', 'CRASHES=0', 'TAKEOVERS=1']
/** In place of that: what a variant is about does not happen there. */
const losingWorld = ['CONNECTIONS=2', 'UPLINKS=1', 'DOWNLINKS=0', 'REPEATS=0', 'CRASHES=0', 'TAKEOVERS=0', 'LOSSES=1']
const brokenWorlds: Readonly<Record<string, readonly string[]>> = {
  BREAK_LATE_UPLINKS: losingWorld,
  BREAK_RESTORED_AS_OFFERED: losingWorld,
}

const skip = lacking.length > 0 && `${lacking.map(([program]) => program).join(' and ')} missing`
t.test('The model of a session', { skip }, async t => {
  for (const [who, settings] of Object.entries(worlds)) {
    await t.test(`keeps what it promises to a client ${who}, in every order of events`, async t => {
      const { errors, states, assertion } = await check(t, settings)
      t.equal(errors, 0, assertion)
      t.ok(states > 50_000, `of ${states} states`)
    })
  }

  const variants = [...new Set(readFileSync(model, 'utf8').match(/(?<=#ifdef |!defined\()BREAK_\w+/g))]
  t.equal(variants.length, 11)
  for (const variant of variants) {
    await t.test(`breaks a promise with ${variant}`, async t => {
      const { errors, assertion } = await check(t, [variant, ...brokenWorlds[variant] ?? brokenWorld], '-O0') // found soon: the compiler takes longer
      t.equal(errors, 1)
      t.not(assertion, '')
      t.comment(assertion)
    })
  }
})
