import { createInterface } from 'node:readline'
import type { Interface } from 'node:readline'
import { json as readJson } from 'node:stream/consumers'
import { Option } from 'commander'
import type { Command } from 'commander'
import { createClient } from '../client/node.js'
import type { Client, ClientEvents } from '../client/node.js'
import { type JsonPayload, payloadToJson } from '../schemas/payload.js'
import { printable } from '../schemas/printable.js'
import { CommandFailed } from './failure.js'
import { addGatewayOptions, ask, gatewayUrl } from './gateway.js'
import type { GatewayOptions } from './gateway.js'
import { payloadText } from './payload-text.js'
import { jsonLine, shown } from './print.js'
import { makeToken } from './token.js'
import { appOption, type AppOptions } from './user-id.js'

interface ConnectOptions extends GatewayOptions, AppOptions {
  readonly transport: 'ws' | 'tcp'
  readonly device: string
  readonly service?: string
  readonly token?: string
  readonly json?: boolean
}

const unackedMax = 500

export function addConnect (program: Command): void {
  const command = program.command('connect')
    .description('connect as USER: send each line that is typed as an uplink, and print what comes')
    .argument('<user>', 'user id')
    .addOption(new Option('--transport <transport>', 'how to connect').choices(['ws', 'tcp']).default('ws'))
    .option('--device <id>', 'device id', 'terminal')
    .option('--service <name>', 'service that the uplinks are for')
    .option('--token <token>', 'token, instead of one made with the gateway\'s secret')
    .addOption(appOption())
    .option('--json', 'print NDJSON, one event a line')
  addGatewayOptions(command).action(connect)
}

async function connect (userId: string, options: ConnectOptions): Promise<void> {
  const { token, device, transport, data, app, json = false } = options
  const where = { ...data === undefined ? {} : { data }, ...app === undefined ? {} : { app } }
  const client = createClient({
    ...await whereTo(options),
    transport,
    getToken: async () => token ?? (await makeToken(userId, { device, ...where })).token,
    deviceId: device,
    platform: 'cli',
    client: 'ledgerline-cli',
  })
  const isTerminal = process.stdin.isTTY && process.stderr.isTTY
  // The prompt goes to stderr, so that stdout holds nothing but what came.
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: isTerminal, prompt: '> ' })
  const screen = new Screen(json, isTerminal ? lines : undefined)
  showEvents(client, screen)
  const ended = new Promise<CommandFailed>(resolve => {
    client.on('disconnected', ({ code, reason, willReconnect }) => {
      const isHopeless = code === 'token-expired' && token !== undefined
      if (!willReconnect || isHopeless) resolve(new CommandFailed(`${code}: ${reason}`))
    })
  })
  const connected = new Promise(resolve => client.on('connected', resolve))
  client.connect()
  const sent = sendLines(client, lines, screen, options.service ?? '')
  const outcome = await Promise.race([Promise.all([connected, sent]), ended])
  lines.close()
  await client.close()
  if (outcome instanceof CommandFailed) throw outcome
}

/** An edge itself, or a gateway whose ip-config is asked: here first, for a clear word when nobody is there. */
async function whereTo (options: ConnectOptions): Promise<{ endpoints: string[] } | { ipConfig: string }> {
  if (/^(wss?|tcp|tls):\/\//.test(options.url ?? '')) return { endpoints: [options.url!] }
  const url = gatewayUrl(options)
  const response = await ask(url, `/v1/ip-config?transport=${options.transport}`)
  const { endpoints } = await readJson(response) as { endpoints: string[] }
  if (endpoints.length === 0) throw new CommandFailed(`the gateway at ${url} knows no ${options.transport} endpoint`)
  return { ipConfig: `${url}/v1/ip-config` }
}

/** Resolves once the input has ended and every line is acked. */
async function sendLines (client: Client, lines: Interface, screen: Screen, service: string) {
  const unacked = new Set<Promise<void>>()
  lines.on('SIGINT', () => lines.close())
  screen.prompt()
  for await (const line of lines) {
    if (line !== '') {
      const sent = client.send(line, { service }).then(
        ({ seq, userSeq }) => screen.show({ event: 'ack', seq, userSeq }, `acked ${seq}, the user's #${userSeq ?? '?'}`),
        (err: Error) => screen.show({ event: 'failed', message: err.message }, `not sent: ${printable(err.message)}`))
      unacked.add(sent)
      sent.finally(() => unacked.delete(sent))
    }
    screen.prompt()
    if (unacked.size >= unackedMax) await Promise.race(unacked) // a file comes faster than acks do
  }
  await Promise.all(unacked)
}

function showEvents (client: Client, screen: Screen): void {
  const told: { [Name in keyof ClientEvents]?: (event: Shown<ClientEvents[Name]>) => string } = {
    connected: ({ userId, nodeId, endpoint, resumed }) =>
      `connected as ${userId} to ${nodeId}, ${endpoint}${resumed ? ', session resumed' : ''}`,
    disconnected: ({ code, reason, willReconnect, retryInMs }) =>
      `disconnected: ${withReason(code, reason)}${willReconnect ? `; again in ${(retryInMs / 1000).toFixed(1)} s` : ''}`,
    downlink: ({ seq, service, payload }) =>
      `downlink ${seq}${inBrackets(service)}: ${payloadText(payload)}`,
    signal: ({ service, payload }) => `signal${inBrackets(service)}: ${payloadText(payload)}`,
    missed: ({ count }) => `missed: ${count} downlinks are gone for good`,
    refused: ({ code, waitMs }) => `uplinks are refused: ${code}; again in ${waitMs} ms`,
    migrating: ({ reason }) => `the node is leaving: ${reason}; moving to another`,
    migrated: ({ nodeId, endpoint }) => `moved to ${nodeId}, ${endpoint}`,
    kicked: ({ code, reason }) => `kicked: ${withReason(code, reason)}`,
  }
  for (const [name, describe] of Object.entries(told) as [keyof ClientEvents, (event: any) => string][]) {
    client.on(name, event => {
      const payload = 'payload' in event ? { payload: payloadToJson(event.payload) } : {}
      screen.show({ event: name, ...event, ...payload }, describe(shown({ ...event, ...payload })))
    })
  }
}

function withReason (code: string, reason: string): string {
  if (code === 'disconnected') return 'goodbye'
  return reason === '' ? code : `${code}, ${reason}`
}

function inBrackets (service: string): string {
  return service === '' ? '' : ` [${service}]`
}

/** An event with its payload as JSON has it. */
type Shown<Event> = Event extends { payload: Uint8Array } ? Omit<Event, 'payload'> & { payload: JsonPayload } : Event

/** What is printed, a line at a time, around the prompt. */
class Screen {
  readonly #json: boolean
  #lines: Interface | undefined

  /** @param lines where they are typed, if on a terminal */
  constructor (json: boolean, lines: Interface | undefined) {
    this.#json = json
    this.#lines = lines
    // A prompt would open the input again, and keep the process alive.
    lines?.once('close', () => { this.#lines = undefined })
  }

  show (event: object, text: string): void {
    if (this.#lines) process.stderr.write('\r\x1b[K')
    process.stdout.write(this.#json ? jsonLine(event) : `${text}\n`)
    this.prompt()
  }

  prompt (): void {
    this.#lines?.prompt(true)
  }
}
