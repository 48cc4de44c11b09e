import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const program = fileURLToPath(new URL('../../simulation/main.js', import.meta.url))

interface Outcome {
  readonly violations: readonly string[]
  readonly hash: string
  readonly events: number
  readonly sent: number
  readonly pushed: number
  readonly faults: Readonly<Record<string, number>>
}

/** One run in a process of its own, whose exit code says whether all was well. */
async function simulate (...options: string[]): Promise<Outcome> {
  return await new Promise((resolve, reject) => {
    execFile(process.execPath, [program, '--json', ...options], { maxBuffer: 1 << 26 }, (err, stdout, stderr) => {
      try {
        resolve(JSON.parse(stdout) as Outcome)
      } catch {
        reject(new Error(`${err?.message ?? ''}\n${stderr}`))
      }
    })
  })
}

t.test('A simulated cluster', async t => {
  await t.test('does the same for the same seed, event by event, and something else for another one', async t => {
    const options = ['--minutes', '0.5', '--nodes', '2', '--devices', '4']
    const once = await simulate(...options, '--seed', '7')
    const again = await simulate(...options, '--seed', '7')
    const other = await simulate(...options, '--seed', '8')
    t.strictSame(again, once)
    t.not(other.hash, once.hash)
    t.ok(once.events > 1_000)
  })

  for (const seed of ['1', '2', '3']) {
    await t.test(`keeps its promises, whatever goes wrong: seed ${seed}`, async t => {
      const { violations, sent, pushed, faults } = await simulate('--seed', seed, '--minutes', '1', '--devices', '6')
      t.strictSame(violations, [])
      t.ok(sent > 20 && pushed > 10, 'with traffic')
      t.ok(Object.keys(faults).length > 3, 'and faults')
    })
  }
})
