import { Cluster, Command, type Redis } from 'ioredis'
import { type Circuit, CircuitBreaker } from '../ledger/circuit.js'

export interface RedisCircuitsOptions {
  readonly dependency: string
  /** A server keeps its connection and does not answer. Empty for the only one that there is, else `HOST:PORT`. */
  away (server: string, reason: string): void
  /** It answers again. */
  back (server: string): void
}

/**
 * Commands without an answer within `commandTimeout` before no more are sent: what comes together fails together, and
 * one that takes long by itself is not taken for a server that is away.
 */
const failuresMax = 3
/** A probe that waits is answered as soon as the server goes on, so what counts is the pause between two. */
const waitMs = 100
const waitMsMax = 1_000

/**
 * ioredis gives up a connection of a Cluster that ends, and makes another one to the same server; to one that has left
 * the Cluster it makes none, and its circuit is forgotten.
 */
const forgetMs = 60_000

interface Server {
  readonly breaker: CircuitBreaker
  /** The connection to it. */
  redis: Redis
  forgetting: NodeJS.Timeout | undefined
}

/**
 * A circuit breaker for each server that a connection leads to: one for a single Redis, one for each node of a Cluster,
 * of which one may be away and the others not. It stands where ioredis sends its commands, so that nobody has to know
 * of it. While a server has no connection, ioredis itself refuses commands and tries to connect; the circuit is open
 * then, too.
 */
export class RedisCircuits {
  readonly #options: RedisCircuitsOptions
  /** By address; empty for a single one. */
  readonly #servers = new Map<string, Server>()

  constructor (connection: Redis | Cluster, options: RedisCircuitsOptions) {
    this.#options = options
    if (!(connection instanceof Cluster)) {
      this.#guard(connection, '')
      return
    }
    for (const node of connection.nodes('all')) this.#guard(node, addressOf(node))
    connection.on('+node', (node: Redis) => { this.#guard(node, addressOf(node)) })
    connection.on('-node', (node: Redis) => { this.#left(node, addressOf(node)) })
  }

  all (): Circuit[] { return this.#breakers }

  /** For how long none of its servers has answered; 0 while one does. */
  get openMs (): number {
    const all = this.#breakers.map(({ openMs }) => openMs)
    return all.length === 0 ? 0 : Math.min(...all)
  }

  stop (): void {
    for (const { breaker, forgetting } of this.#servers.values()) {
      breaker.stop()
      clearTimeout(forgetting)
    }
  }

  get #breakers (): CircuitBreaker[] { return Array.from(this.#servers.values(), ({ breaker }) => breaker) }

  #guard (redis: Redis, address: string): void {
    const send = redis.sendCommand.bind(redis)
    const server = this.#serverAt(address, redis)
    const { breaker } = server
    redis.on('close', () => { if (server.redis === redis) breaker.open('there is no connection') })
    redis.on('ready', () => { breaker.answered() })
    redis.sendCommand = (command: Command, stream) => {
      // One that is being connected sends commands of its own, and refuses all others. What asks a server that does not
      // answer whether it does is sent all the same.
      if (redis.status !== 'ready' || probes.has(command)) return send(command, stream)
      try {
        breaker.check()
      } catch (err) {
        command.reject(err as Error)
        return command.promise
      }
      command.promise.then(
        () => { breaker.answered() },
        (err: Error) => {
          if (err.name === 'ReplyError') breaker.answered()
          else breaker.unanswered(err)
        })
      return send(command, stream)
    }
  }

  #serverAt (address: string, redis: Redis): Server {
    const known = this.#servers.get(address)
    if (known) {
      clearTimeout(known.forgetting)
      known.redis = redis
      return known
    }
    const { dependency, away, back } = this.#options
    const server: Server = {
      breaker: new CircuitBreaker({
        dependency,
        failuresMax,
        waitMs,
        waitMsMax,
        async probe () {
          if (server.redis.status !== 'ready') throw new Error('there is no connection')
          const ping = new Command('ping', [], { replyEncoding: 'utf8' })
          probes.add(ping)
          server.redis.sendCommand(ping)
          await ping.promise
        },
        // One without a connection is told of by whoever made it.
        away (reason) { if (server.redis.status === 'ready') away(address, reason) },
        back () { back(address) },
      }),
      redis,
      forgetting: undefined,
    }
    this.#servers.set(address, server)
    return server
  }

  #left (redis: Redis, address: string): void {
    const server = this.#servers.get(address)
    if (server?.redis !== redis) return
    clearTimeout(server.forgetting)
    server.forgetting = setTimeout(() => {
      this.#servers.delete(address)
      server.breaker.stop()
      this.#options.back(address)
    }, forgetMs).unref()
  }
}

const probes = new WeakSet<Command>()

function addressOf ({ options: { host, port } }: Redis): string { return `${host}:${port}` }
