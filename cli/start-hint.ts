import { readFileSync } from 'node:fs'
import { type Config, settings } from '../gateway/config.js'
import type { RunningNode } from '../gateway/main.js'
import { secretPaths } from '../gateway/secrets.js'
import { ownCommand, quoted } from './self.js'

/** What whoever has started a node in a terminal may do next. */
export function startHint ({ http, tcp, api }: Pick<RunningNode, 'http' | 'tcp' | 'api'>, config: Config): string {
  const { dataDir, jwksUrl, jwtIssuers, roles } = config
  const self = ownCommand()
  const where = (url: string) => [
    url === 'http://127.0.0.1:8080' ? '' : ` --url ${url}`,
    dataDir === settings.dataDir.parse(settings.dataDir.fallback!) ? '' : ` --data ${quoted(dataDir)}`,
  ].join('')
  return `
  Ledgerline listens on ${http} (HTTP, WebSocket) and ${tcp} (TCP)\
${api === http ? '' : `, and on ${api} for all that wants an API key`}.
${roles.includes('console') ? `  Console: ${api}/console\n` : ''}\
  API key: ${firstKey(config)}

  Try in other terminals:
${jwksUrl === undefined && jwtIssuers === undefined ? `    ${self} connect ann${where(http)}\n` : ''}\
    ${self} push ann "hello"${where(api)}
    ${self} uplinks --follow${where(api)}

  Ctrl-C stops it.

`
}

/** Whoever can read the terminal of the gateway can read its files, too: a key that it has drawn is shown. */
function firstKey ({ apiKeys, apiKeysFile, dataDir }: Config): string {
  if (apiKeysFile !== undefined) {
    return `one of ${apiKeysFile}; to make one: ${ownCommand()} keys create --name me --scopes operate,read`
  }
  if (apiKeys.length > 0) return 'one of LEDGERLINE_API_KEYS'
  const path = secretPaths(dataDir).apiKey
  return `${readFileSync(path, 'utf8').trim()} (from ${path})`
}
