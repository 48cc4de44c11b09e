import { type Command, Option } from 'commander'
import { settings } from '../gateway/config.js'
import { type Environment, flagOf, type Setting } from '../gateway/setting.js'

/**
 * Adds an option for every setting.
 *
 * @returns gives what of the options are settings, by variable
 */
export function addSettings (command: Command): (options: Readonly<Record<string, string>>) => Environment {
  const variables = new Map<string, string>()
  for (const setting of Object.values<Setting>(settings)) {
    const option = optionOf(setting)
    command.addOption(option)
    variables.set(option.attributeName(), setting.variable)
  }
  return options => Object.fromEntries(Object.entries(options).flatMap(([name, value]) => {
    const variable = variables.get(name)
    return variable === undefined ? [] : [[variable, value]]
  }))
}

function optionOf ({ variable, fallback, fallbackIs = fallback, help }: Setting): Option {
  const byDefault = fallbackIs ? `, default ${fallbackIs}` : ''
  return new Option(`--${flagOf(variable)} <value>`, `${help} (${variable}${byDefault})`)
}
