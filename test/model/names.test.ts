import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { simulateOnce } from '../../simulation/process.js'

const model = readFileSync(fileURLToPath(new URL('../../../model/session.pml', import.meta.url)), 'utf8')

/** What the model calls events of the client that are no messages in it. */
const ofTheClient = ['connect', 'migrate', 'uplink', 'downlinkAck', 'missed']

/** A change of anything gives a seed another history, in which an event may not be. */
const seedsMax = 10

t.test('The names of the model are those that stand in a trace of the simulation', async t => {
  const types = [...model.matchAll(/^mtype = \{ (.*) \}$/gm)].flatMap(([, names]) => names!.split(', '))
  t.ok(types.length >= 9)
  for (const name of ofTheClient) t.match(model, new RegExp(`\\b${name}\\b`), name)
  const file = join(t.testdir(), 'trace')
  const world = ['--minutes', '2', '--nodes', '2', '--devices', '4', '--fault-every', '1500']
  const missing = new Set([...types, ...ofTheClient])
  for (let seed = 1; missing.size > 0 && seed <= seedsMax; seed++) {
    await simulateOnce(['--seed', String(seed), ...world, '--faults', 'kick,drain,sleep,brief', '--trace', file])
    const trace = readFileSync(file, 'utf8')
    for (const name of missing) if (new RegExp(`\\b${name}\\b`).test(trace)) missing.delete(name)
  }
  t.strictSame([...missing], [], 'no name is missing')
})
