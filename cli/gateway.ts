import { once } from 'node:events'
import { request as requestHttp } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { text } from 'node:stream/consumers'
import { Option } from 'commander'
import type { Command } from 'commander'
import { settings } from '../gateway/config.js'
import { readEnvironment } from '../gateway/environment.js'
import { readSecret, secretPaths } from '../gateway/secrets.js'
import { type Environment, readSetting } from '../gateway/setting.js'
import { CommandFailed } from './failure.js'
import { ownCommand } from './self.js'

/** Options of every command that talks to a running gateway. */
export interface GatewayOptions {
  readonly url?: string
  readonly apiKey?: string
  readonly data?: string
}

const urlDefault = 'http://127.0.0.1:8080'

export function addGatewayOptions (command: Command): Command {
  return command
    .option('--url <url>', `the gateway (LEDGERLINE_URL, default ${urlDefault})`)
    .option('--api-key <key>', 'API key (LEDGERLINE_API_KEYS, or the one in the data directory)')
    .addOption(dataOption())
}

/** Of commands whose request the stream `nodes` is told of. */
export interface ReasonOptions { readonly reason?: string }

export function reasonOption (): Option { return new Option('--reason <text>', 'why: it is stored with the request') }

/** @param path without a query */
export function withReason (path: string, { reason }: ReasonOptions): string {
  return reason === undefined ? path : `${path}?${new URLSearchParams({ reason }).toString()}`
}

export function dataOption (): Option {
  return new Option('--data <dir>', 'data directory, where the gateway keeps its secrets (LEDGERLINE_DATA)')
}

/** @throws CommandFailed with exit code 2 when it is no HTTP URL */
export function gatewayUrl ({ url }: GatewayOptions, env: Environment = readEnvironment()): string {
  const given = url ?? (env['LEDGERLINE_URL'] || urlDefault)
  if (/^https?:\/\//.test(given) && URL.canParse(given)) return given.replace(/\/+$/, '')
  const name = url === undefined ? 'LEDGERLINE_URL' : '--url'
  throw new CommandFailed(`${name}: got "${given}", want a URL that starts with http:// or https://`, { exitCode: 2 })
}

/** @returns undefined where neither the command line, the environment nor the data directory has one */
export async function findApiKey (options: GatewayOptions, env = readEnvironment()): Promise<string | undefined> {
  const configured = options.apiKey?.trim() || readSetting(settings.apiKeys, env)?.[0]
  return configured ?? await readGenerated(options, env, 'apiKey')
}

/** @returns undefined where there is none at hand */
export async function findJwtSecret (options: GatewayOptions, env = readEnvironment()): Promise<string | undefined> {
  return readSetting(settings.jwtSecret, env) ?? await readGenerated(options, env, 'jwtSecret')
}

async function readGenerated ({ data }: GatewayOptions, env: Environment, secret: 'apiKey' | 'jwtSecret') {
  const dataDir = readSetting(settings.dataDir, env, { [settings.dataDir.variable]: data })!
  const path = secretPaths(dataDir)[secret]
  try {
    return await readSecret(path)
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code === 'EACCES') throw new CommandFailed(`${path} belongs to somebody else`, { cause: err })
    throw err
  }
}

export interface Asked {
  readonly method?: 'GET' | 'POST'
  readonly apiKey?: string | undefined
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/**
 * One request; the answer's body is still to be read. Not by `fetch`, which ends a stream that is silent for 5 minutes.
 *
 * @throws CommandFailed when nobody answers, or with what the gateway says is wrong
 */
export async function ask (url: string, path: string, asked: Asked = {}): Promise<IncomingMessage> {
  const { method = 'GET', apiKey, body, signal } = asked
  const target = new URL(url + path)
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  const request = (target.protocol === 'https:' ? requestHttps : requestHttp)(target, {
    method,
    headers: {
      ...apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      ...bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length },
    },
    ...signal === undefined ? {} : { signal },
  })
  request.end(bytes)
  let response: IncomingMessage
  try {
    [response] = await once(request, 'response') as [IncomingMessage]
  } catch (err) {
    throw unreachable(url, err as NodeJS.ErrnoException)
  }
  if (response.statusCode! >= 300) throw await refused(response, apiKey)
  return response
}

function unreachable (url: string, err: NodeJS.ErrnoException): CommandFailed {
  const hint = `start one with "${ownCommand()} start", or name another with --url`
  if (err.code === 'ECONNREFUSED') return new CommandFailed(`no gateway at ${url}; ${hint}`, { cause: err })
  return new CommandFailed(`the gateway at ${url} cannot be reached: ${err.message || err.code}`, { cause: err })
}

/** What the gateway takes for a bad request is wrong usage here. */
async function refused (response: IncomingMessage, apiKey: string | undefined): Promise<CommandFailed> {
  const body = await text(response)
  if (response.statusCode === 401) {
    const wants = apiKey === undefined ? 'wants an API key' : 'does not know this API key'
    return new CommandFailed(`the gateway ${wants}: give --api-key, LEDGERLINE_API_KEYS, or its --data directory`)
  }
  try {
    const { code, message } = JSON.parse(body) as { code: string, message: string }
    const exitCode = code === 'bad-request' ? 2 : 1
    return new CommandFailed(`the gateway refuses: ${message} (${code})`, { exitCode })
  } catch {
    return new CommandFailed(`what answers there is no gateway: HTTP ${response.statusCode}`)
  }
}
