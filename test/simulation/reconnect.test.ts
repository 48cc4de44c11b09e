import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

/* The simulation of bench/simulation on a smaller scale, with as many clients a node. */

const program = fileURLToPath(new URL('../../../bench/simulation/main.js', import.meta.url))

interface Failure { id: string, left: number, peakShare: number, laterShare: number | null, backToFull: boolean }
interface Figures { failures: Failure[], days: Array<{ policy: string, worst: number, connects: number }> }

async function simulate (...options: string[]): Promise<Figures> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, '--json', '--nodes', '10', ...options])
  return JSON.parse(stdout) as Figures
}

t.test('Clients that lost their connections', async t => {
  const { failures } = await simulate('--clients', '100000', '--only', 'node,zone,restart')
  t.strictSame(failures.map(({ id }) => id), ['node', 'zone', 'restart'])
  for (const { id, left, peakShare, laterShare, backToFull } of failures) {
    await t.test(`when this ends: ${id}`, async t => {
      t.ok(left > 0, 'some had to reconnect')
      t.ok(peakShare < 2, `never come in a wave above twice the backoff's rate; ${peakShare.toFixed(2)} times`)
      t.ok((laterShare ?? 0) < 1, 'nor in a later one above that of the first interval')
      t.ok(backToFull, 'are all back in the end')
    })
  }
})

t.test('Clients that come and go', async t => {
  const options = ['--clients', '60000', '--nodes', '6', '--hours', '4', '--only', 'day']
  const [once, again] = await Promise.all([simulate(...options), simulate(...options)])
  const ours = once.days.find(({ policy }) => policy === 'ledgerline')!
  t.ok(ours.connects > 60_000, 'in their thousands')
  const worst = `${(100 * ours.worst).toFixed(1)} %`
  t.ok(ours.worst < 0.1, `leave less than 10 % between the fullest and the emptiest node; ${worst}`)
  t.strictSame(again, once, 'do the same for the same seed')
})
