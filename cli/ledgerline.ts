#!/usr/bin/env -S node --max-semi-space-size=32 --no-allocation-site-pretenuring
// Imports nothing of ours before it knows that this Node can: an older one would fail at an import, with a stack.
import { readFileSync } from 'node:fs'

const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
const wanted = /(\d+)\.(\d+)/.exec(engines.node)!.slice(1).map(Number)
const found = process.versions.node.split('.').map(Number)
const isOlder = found[0]! < wanted[0]! || (found[0] === wanted[0] && found[1]! < wanted[1]!)

if (isOlder) {
  process.stderr.write(`ledgerline: this is Node.js ${process.versions.node}, want ${wanted.join('.')} or newer\n`)
  process.exitCode = 2
} else {
  const { runCommand } = await import('./commands.js')
  process.exitCode = await runCommand() ?? process.exitCode
}
