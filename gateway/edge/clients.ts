import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv6, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../../schemas/errors.js'
import { elementsOfForwarded, type Hop, hopsOfXForwardedFor, type Scheme, schemesOfXForwardedProto } from './forwarded.js'

/** Whom something came from: the peer of the socket, or whom a proxy that is trusted names. */
export interface Client {
  readonly ip: string
  /** Undefined where a proxy did not tell it. */
  readonly port: number | undefined
}

/** As presence, history and log show it. */
export function addressOf ({ ip, port }: Client): string { return port === undefined ? ip : `${ip}:${port}` }

/** Addresses and networks in CIDR notation, IPv4 also for the IPv6 addresses that stand for it. */
export class AddressList {
  readonly #list = new BlockList()

  /** @param networks as `networkList` of gateway/setting.ts has read them */
  constructor (networks: readonly string[]) {
    for (const network of networks) {
      const [ip, bits] = network.split('/') as [string, string | undefined]
      const family = isIPv6(ip) ? 'ipv6' : 'ipv4'
      this.#list.addSubnet(ip, Number(bits ?? (family === 'ipv6' ? 128 : 32)), family)
    }
  }

  /** @returns undefined for an empty list */
  static of (networks: readonly string[]): AddressList | undefined {
    return networks.length === 0 ? undefined : new AddressList(networks)
  }

  has (ip: string): boolean {
    const [address] = ip.split('%') as [string]
    const version = isIP(address)
    return version !== 0 && this.#list.check(address, version === 6 ? 'ipv6' : 'ipv4')
  }
}

/** Whose a socket (the one below TLS) or a request is, where a proxy has said that. */
const told = new WeakMap<Socket | IncomingMessage, Client>()

/** @param client as the PROXY header of `socket` says */
export function tell (socket: Socket, client: Client): void { told.set(socket, client) }

/** Whose `socket` is, TLS or not. */
export function clientOfSocket (socket: Socket): Client {
  return told.get(below(socket)) ?? { ip: socket.remoteAddress ?? '', port: socket.remotePort }
}

/** Whom proxies name for `request`, once `resolve` was asked; undefined: it is of the peer of its socket. */
export function namedClient (request: IncomingMessage): Client | undefined {
  return told.get(request) ?? told.get(below(request.socket))
}

/** Whose `request` is. */
export function clientOf (request: IncomingMessage): Client {
  return namedClient(request) ?? clientOfSocket(request.socket)
}

/** How clients came to the proxies in front, where those have said it. */
const schemes = new WeakMap<IncomingMessage, Scheme>()

/**
 * How the client of `request` speaks to the gateway, or to the proxies in front of it.
 *
 * @returns undefined over plain HTTP where no proxy that is trusted says so: another one may be in front
 */
export function schemeOf (request: IncomingMessage): Scheme | undefined {
  return schemes.get(request) ?? ((request.socket as TLSSocket).encrypted ? 'https' : undefined)
}

function below (socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket | null })._parent ?? socket
}

/**
 * Finds out whose a request is that came through proxies: from the end of what they added, the first that is none of
 * them. Nothing that anybody else said counts. `schemeOf` knows then how that client came to them.
 *
 * @returns undefined where the request is of its socket's client
 * @throws GatewayError `bad-request` where the headers can't be read, or name two clients
 */
export function resolve (request: IncomingMessage, proxies: AddressList): Client | undefined {
  const { forwarded, 'x-forwarded-for': xForwardedFor, 'x-forwarded-proto': xForwardedProto } = request.headers
  if (forwarded === undefined && xForwardedFor === undefined && xForwardedProto === undefined) return undefined
  const peer = clientOfSocket(request.socket)
  if (!proxies.has(peer.ip)) return undefined
  const named: Client[] = []
  const said = new Set<Scheme>()
  if (forwarded !== undefined) {
    const elements = elementsOfForwarded(forwarded)
    if (!elements) throw new GatewayError('bad-request', 'Forwarded: want it as RFC 7239 has it')
    const { client, at } = firstForeign(peer, elements.map(({ from }) => from), proxies)
    named.push(client)
    const scheme = elements[at]?.scheme
    if (scheme !== undefined) said.add(scheme)
  }
  // Node joins lines of one name.
  const hops = xForwardedFor === undefined ? undefined : hopsOfXForwardedFor(String(xForwardedFor))
  const first = hops && firstForeign(peer, hops, proxies)
  if (first) named.push(first.client)
  if (xForwardedProto !== undefined) {
    const all = schemesOfXForwardedProto(String(xForwardedProto))
    // Most proxies write one for all of them; those that add theirs do so as they add addresses.
    const scheme = all.length === 1 ? all[0] : all.length === hops?.length ? all[first!.at] : undefined
    if (scheme !== undefined) said.add(scheme)
  }
  // A proxy adds to one and hands the other on as the client sent it: nobody can tell which is which.
  if (named.length === 2 && named[0]!.ip !== named[1]!.ip) {
    throw new GatewayError('bad-request', 'Forwarded and X-Forwarded-For name two clients: the proxy must remove the one ' +
      'that it does not write')
  }
  const [scheme] = said
  if (said.size === 1) schemes.set(request, scheme!)
  if (named.length === 0) return undefined
  told.set(request, named[0]!)
  return named[0]
}

/**
 * Where a hop is no address it is the last proxy before it that counts.
 *
 * @returns with the place of what the farthest proxy that is trusted has added
 */
function firstForeign (peer: Client, hops: readonly Hop[], proxies: AddressList): { client: Client, at: number } {
  let client = peer
  let at = hops.length
  while (at > 0 && proxies.has(client.ip)) {
    const hop = hops[--at]
    if (!hop) break
    client = hop
  }
  return { client, at }
}
