import { type Config, settings } from '../gateway/config.js'
import { ConfigError, flagOf, type Setting, wrong } from '../gateway/setting.js'
import { GatewayError } from '../schemas/errors.js'
import { CommandFailed } from './failure.js'

/**
 * Why a node could not start, in words for whoever has started it, and with the exit code of protocol.md 6; undefined
 * where it is a fault of ours, which wants its stack.
 */
export function startFailure (err: unknown, config: Config): CommandFailed | undefined {
  if (!(err instanceof Error)) return undefined
  const { code = '', syscall, port } = err as NodeJS.ErrnoException & { port?: number }
  if (err instanceof ConfigError) return new CommandFailed(err.message, { exitCode: 2, cause: err })
  if (err instanceof CommandFailed) return err
  if (syscall === 'listen' || syscall === 'getaddrinfo') return notListening(err, code, port, config)
  if (code === 'not-writable') {
    return withCause(wrong(settings.dataDir.variable, config.dataDir, writable(err)), err)
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const where = `${name(settings.dataDir)}: no space left on the disk of ${config.dataDir}`
    return new CommandFailed(where, { cause: err })
  }
  // Kafka, Redis or the registry is there, and what it wants is said in the message.
  if (code === 'misconfigured') return new CommandFailed(err.message, { exitCode: 2, cause: err })
  if (code === 'partitions-differ') {
    return new CommandFailed(`${name(settings.partitions)}: ${err.message}`, { exitCode: 2, cause: err })
  }
  if (err.name === 'StoreError') {
    // The wrong directory was named; all others are trouble with the right one.
    const exitCode = code === 'not-ours' ? 2 : 1
    return new CommandFailed(`${name(settings.dataDir)}: ${err.message}`, { exitCode, cause: err })
  }
  const isPlain = err.constructor === Error || err.name.startsWith('Kafka')
  return isPlain || code !== '' || err instanceof GatewayError ? new CommandFailed(err.message, { cause: err }) : undefined
}

/** In the order in which they are tried. */
const listeners = [
  { host: 'host', port: 'httpPort' },
  { host: 'host', port: 'tcpPort' },
  { host: 'apiHost', port: 'apiPort' },
  { host: 'metricsHost', port: 'metricsPort' },
] as const

function notListening (cause: Error, code: string, port: number | undefined, config: Config): CommandFailed {
  const isHost = port === undefined || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND'
  const { address, hostname = address } = cause as { address?: string, hostname?: string }
  const tried = listeners.find(listener => isHost ? config[listener.host] === hostname : config[listener.port] === port)
  const listener = tried ?? listeners[0]
  const setting: Setting = settings[isHost ? listener.host : listener.port]
  const listened = config[listener.host]
  const where = isHost ? listened : `port ${port} of ${listened}`
  const what: Readonly<Record<string, string>> = {
    EADDRINUSE: 'is in use by another program: stop that one, or name another port, 0 for a free one',
    EACCES: 'may not be listened on by this user',
    EADDRNOTAVAIL: 'is no address of this machine',
    ENOTFOUND: 'is no name that can be looked up',
  }
  return new CommandFailed(`${name(setting)}: ${where} ${what[code] ?? 'can not be listened on'} (${code})`,
    { exitCode: isHost ? 2 : 1, cause })
}

function writable ({ cause, message }: Error): string {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  return `a directory that this user may write (${code ?? message})`
}

function withCause (err: ConfigError, cause: Error): CommandFailed {
  return new CommandFailed(err.message, { exitCode: 2, cause })
}

function name ({ variable }: Setting): string { return `${variable} (--${flagOf(variable)})` }
