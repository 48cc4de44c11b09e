import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { settings } from '../../gateway/config.js'

const path = fileURLToPath(new URL('../../../deploy/systemd/ledgerline.service', import.meta.url))
const unit = readFileSync(path, 'utf8')
const valueOf = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1]

t.test('deploy/systemd/ledgerline.service', async t => {
  t.test('is what systemd takes', async t => {
    const { error, status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' })
    if (error !== undefined) {
      t.pass('systemd-analyze is not here', { skip: true })
      return
    }
    t.equal(stderr, '')
    t.equal(status, 0)
  })

  t.test('lets a node stop in its time, and does not start again what is wrong', async t => {
    const stopMs = Number(settings.drainMs.fallback) + Number(settings.stopGraceMs.fallback) + 30_000
    t.ok(Number(valueOf('TimeoutStopSec')) * 1_000 >= stopMs)
    t.equal(valueOf('RestartPreventExitStatus'), '2')
  })

  t.test('keeps its data where it may write', async t => {
    t.match(valueOf('Environment'), `${settings.dataDir.variable}=/var/lib/${valueOf('StateDirectory')}`)
  })
})
