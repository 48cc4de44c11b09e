import { appendFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { inFile } from '../../client/node.js'

/*
  Takes a storage as often as it can, counts on from what it finds, and writes each number to a log: two that had it at
  once would write the same number. Ends after so many, or is killed.
*/

const [path, log, count] = process.argv.slice(2) as [string, string, string]

for (let i = 0; i < Number(count); i++) {
  const storage = inFile(path)
  for (;;) {
    try {
      const kept = await storage.open(() => { appendFileSync(log, 'lost\n') })
      const next = Number(kept.get('number') ?? 0) + 1
      await setTimeout(Math.random() * 5)
      await storage.write(new Map([['number', String(next)]]))
      appendFileSync(log, `${next}\n`)
      break
    } catch (err) {
      if ((err as { code?: string }).code !== 'busy') throw err
      await setTimeout(Math.random() * 10)
    }
  }
  await storage.close()
}
