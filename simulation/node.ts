import pino from 'pino'
import type { Role } from '../gateway/config.js'
import { readConfig } from '../gateway/read-config.js'
import { type RunningNode, startNode } from '../gateway/main.js'
import type { OpenStores } from '../gateway/startup/base.js'
import type { Environment } from '../gateway/setting.js'
import type { Network } from './network.js'
import type { SimulatedStores } from './stores/stores.js'
import type { Host, World } from './world.js'

export const ports = { http: 8080, tcp: 9100 }

/** A process that has ended is started again after so long, as its supervisor does. */
const restartMs = 1_000

export interface NodeOptions {
  readonly id: string
  readonly address: string
  readonly roles: readonly Role[]
  readonly dataDir: string
  readonly environment: Environment
  /** Told when a process of it begins. */
  readonly boots: () => void
  /** Told of each line of its log, warnings and worse. */
  readonly logged: (level: number, text: string) => void
}

interface LogLine {
  readonly level: number
  readonly msg: string
  readonly err?: { readonly message: string }
  readonly condition?: string
  readonly reason?: string
}

/** One node of the cluster, as its machine has it: the whole gateway, on simulated stores. */
export class SimulatedNode {
  host: Host
  running: RunningNode | undefined
  #isOff = false

  constructor (
    readonly world: World, readonly network: Network, readonly stores: SimulatedStores, readonly options: NodeOptions
  ) {
    this.host = this.#boot()
  }

  get isUp (): boolean { return !this.host.isDown && this.host.held === undefined && this.running !== undefined }

  start (): void {
    this.#isOff = false
    if (this.host.isDown) this.host = this.#boot(this.host.clockOffsetMs)
  }

  /** @param silently as where the power fails: nobody is told that its connections are gone */
  crash (silently: boolean): void {
    this.#isOff = true
    this.#end(silently)
  }

  /** As with SIGTERM; then the process ends. */
  stop (): void {
    const { host, running } = this
    if (!running || host.isDown) return
    this.running = undefined
    host.later(0, 'is to stop', () => {
      running.stop().finally(() => {
        if (!host.isDown) this.#end(false)
        this.#startLater()
      })
    })
  }

  /** @param clockOffsetMs what its machine's clock is off by */
  #boot (clockOffsetMs = 0): Host {
    const { id, address, roles, dataDir, environment, logged } = this.options
    const host = this.world.host(id, address)
    host.clockOffsetMs = clockOffsetMs
    this.network.attach(host)
    const config = host.as(() => readConfig({
      ...environment,
      LEDGERLINE_NODE_ID: id,
      LEDGERLINE_ROLES: roles.join(),
      LEDGERLINE_HOST: address,
      LEDGERLINE_HTTP_PORT: String(ports.http),
      LEDGERLINE_TCP_PORT: String(ports.tcp),
      LEDGERLINE_DATA: dataDir,
    }))
    const logger = pino({ level: 'warn', base: {} }, {
      write (line: string) {
        const { level, msg, err, condition, reason } = JSON.parse(line) as LogLine
        logged(level, [msg, condition, reason, err?.message].filter(part => part !== undefined).join(': '))
      },
    })
    const fatal = (error: Error): void => {
      logged(60, error.message)
      this.#end(false)
      this.#startLater()
    }
    this.options.boots()
    host.later(0, 'boots', () => {
      const open: OpenStores = (config, logger, health) => this.stores.open(config, host, logger, health)
      startNode(config, logger, fatal, open).then(
        running => { if (this.host === host) this.running = running }, fatal)
    })
    return host
  }

  #end (silently: boolean): void {
    this.running = undefined
    this.host.crash()
    this.stores.ended(silently)
    this.network.vanish(this.host, silently)
  }

  #startLater (): void {
    this.world.outside.later(restartMs, `${this.options.id} is started again`, () => { if (!this.#isOff) this.start() })
  }
}
