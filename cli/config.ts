import type { Command } from 'commander'
import { effectiveSettings, type EffectiveSetting, faultsOf } from '../gateway/config-check.js'
import { configurationPage } from '../gateway/config-docs.js'
import { readSources } from '../gateway/environment.js'
import type { Environment } from '../gateway/setting.js'
import { CommandFailed } from './failure.js'
import { print, printJson } from './print.js'
import { addSettings } from './setting-options.js'

interface Options {
  readonly json?: boolean
  readonly changed?: boolean
}

export function addConfig (program: Command): void {
  const config = program.command('config').description('look at the settings that "start" would read')
  const withSettings = (name: string, description: string, act: (given: Environment, options: Options) => void) => {
    const command = config.command(name).description(description).option('--json', 'print NDJSON, one line each')
    if (name === 'show') command.option('--changed', 'leave out defaults')
    const given = addSettings(command)
    command.action((options: Record<string, string> & Options) => { act(given(options), options) })
  }
  withSettings('check', 'say everything that is wrong with them; exit code 2 if anything is', check)
  withSettings('show', 'print the values that count, and where each is from; secrets are not shown', show)
  config.command('docs').description('print the page of all settings, Markdown').action(() => {
    process.stdout.write(configurationPage())
  })
}

function check (given: Environment, { json }: Options): void {
  const faults = faultsOf(readSources(), given)
  if (json) faults.map(fault => ({ fault })).forEach(printJson)
  else print(faults, false, faults => faults.map(fault => `${fault}\n`).join('') || 'nothing is wrong\n')
  if (faults.length === 0) return
  throw new CommandFailed(faults.length === 1 ? 'one setting is wrong' : `${faults.length} settings are wrong`, { exitCode: 2 })
}

function show (given: Environment, { json, changed }: Options): void {
  const all = effectiveSettings(readSources(), given)
  const wanted = changed ? all.filter(({ from }) => from !== 'default') : all
  if (json) wanted.forEach(printJson)
  else print(wanted, false, table)
}

function table (settings: readonly EffectiveSetting[]): string {
  const width = Math.max(0, ...settings.map(({ variable }) => variable.length))
  return settings.map(({ variable, value, from }) => `${variable.padEnd(width)}  ${value ?? '-'}  (${from})\n`).join('')
}
