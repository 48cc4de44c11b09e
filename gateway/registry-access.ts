import type { RegistryAccess } from '../schemas/registry.js'
import { exactlyOneOf, renewedFile } from './secret-file.js'
import { ConfigError } from './setting.js'
import type { StoreConfig } from './store-settings.js'
import { clientTls } from './tls-files.js'

/**
 * What it takes to be let in by the schema registry, besides its URL.
 *
 * @throws ConfigError where settings contradict each other, or a file does not hold what it should
 */
export function registryAccess (config: StoreConfig): RegistryAccess {
  const { schemaRegistryUrl: url, schemaRegistryUsername: username } = config
  const { schemaRegistrySslCaFile: caFile, schemaRegistrySslCertFile: certFile } = config
  const { schemaRegistrySslKeyFile: keyFile, schemaRegistrySslKeyPassword: keyPassword } = config
  const { schemaRegistrySslServerName: serverName } = config
  const usesFiles = [caFile, certFile, keyFile, serverName].some(value => value !== undefined)
  if (url !== undefined && !url.startsWith('https:') && usesFiles) {
    throw new ConfigError('SCHEMA_REGISTRY_URL: got http, want https, for SCHEMA_REGISTRY_SSL_... is set')
  }
  if (url !== undefined && !isDecodable(url)) {
    throw new ConfigError('SCHEMA_REGISTRY_URL: got a login with a "%" that begins no character, want "%25" for it')
  }
  const password = passwordOf(config)
  if (url !== undefined && new URL(url).username !== '' && (username ?? password) !== undefined) {
    throw new ConfigError('SCHEMA_REGISTRY_URL and SCHEMA_REGISTRY_USERNAME: got a user in both, want one of them')
  }
  if ((username === undefined) !== (password === undefined)) {
    throw new ConfigError('SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD: got one of them, want both')
  }
  return {
    ...(usesFiles
      ? { tls: clientTls({ prefix: 'SCHEMA_REGISTRY_SSL', caFile, certFile, keyFile, keyPassword, serverName }) }
      : {}),
    ...(username === undefined ? {} : { username, password: password! }),
  }
}

function isDecodable (url: string): boolean {
  const { username, password } = new URL(url)
  try {
    decodeURIComponent(`${username}:${password}`)
    return true
  } catch {
    return false
  }
}

function passwordOf (config: StoreConfig): string | undefined {
  const { schemaRegistryPassword: password, schemaRegistryPasswordFile: file } = config
  if (password === undefined && file === undefined) return undefined
  exactlyOneOf(config, ['schemaRegistryPassword', 'schemaRegistryPasswordFile'])
  return password ?? renewedFile('schemaRegistryPasswordFile', config)()
}
