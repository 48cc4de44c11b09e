import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { simulateOnce } from '../../simulation/process.js'

const model = readFileSync(fileURLToPath(new URL('../../../model/session.pml', import.meta.url)), 'utf8')

/** What the model calls events of the client that are no messages in it. */
const ofTheClient = ['connect', 'migrate', 'uplink', 'downlinkAck', 'missed']

t.test('The names of the model are those that stand in a trace of the simulation', async t => {
  const types = [...model.matchAll(/^mtype = \{ (.*) \}$/gm)].flatMap(([, names]) => names!.split(', '))
  t.ok(types.length >= 9)
  for (const name of ofTheClient) t.match(model, new RegExp(`\\b${name}\\b`), name)
  const file = join(t.testdir(), 'trace')
  const world = ['--seed', '3', '--minutes', '1', '--nodes', '2', '--devices', '4', '--fault-every', '1500']
  await simulateOnce([...world, '--faults', 'kick,drain,sleep,brief', '--trace', file])
  const trace = readFileSync(file, 'utf8')
  for (const name of [...types, ...ofTheClient]) t.ok(new RegExp(`\\b${name}\\b`).test(trace), name)
})
