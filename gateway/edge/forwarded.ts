import { isIP, isIPv6 } from 'node:net'
import type { Client } from './clients.js'

/*
  For whom a request was forwarded, as each proxy on its way adds it at the end.

  X-Forwarded-For => NODE ("," NODE)*
  Forwarded       => ELEMENT ("," ELEMENT)*, ELEMENT => PAIR (";" PAIR)*, PAIR => TOKEN "=" (TOKEN | QUOTED)  (RFC 7239)
    its "for"     => NODE
    its "proto"   => SCHEME
  X-Forwarded-Proto => SCHEME ("," SCHEME)*
  NODE            => IPv4 | IPv4 ":" PORT | "[" IPv6 "]" | "[" IPv6 "]:" PORT | IPv6 (X-Forwarded-For alone) | others
*/

/** What one proxy said of whom it heard from; undefined for `unknown`, a pseudonym, or what is no address. */
export type Hop = Client | undefined

/** How it heard of it; browsers call a WebSocket's scheme by that of its page. */
export type Scheme = 'http' | 'https'

const schemes: Readonly<Record<string, Scheme>> = { http: 'http', https: 'https', ws: 'http', wss: 'https' }

/** @returns the one that was added first is the first; undefined for what is no scheme of ours */
export function schemesOfXForwardedProto (value: string): Array<Scheme | undefined> {
  return value.split(',').map(name => schemeOf(name.trim()))
}

function schemeOf (name: string): Scheme | undefined {
  const known = name.toLowerCase()
  return Object.hasOwn(schemes, known) ? schemes[known] : undefined
}

/** @returns the one that was added first is the first */
export function hopsOfXForwardedFor (value: string): Hop[] {
  return value.split(',').map(node => nodeOf(node.trim()) ?? bareIPv6(node.trim()))
}

/** RFC 9110: a token, and what a quoted string holds. */
const token = /[!#$%&'*+.^_`|~\w-]+/y
const quoted = /"((?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"/y
const space = /[ \t]*/y

/** One element of `Forwarded`. */
export interface ForwardedElement {
  readonly from: Hop
  /** Undefined where it does not tell, or tells of none of ours. */
  readonly scheme: Scheme | undefined
}

/**
 * @returns the one that was added first is the first; undefined where the header is not as RFC 7239 has it. Such a one
 *   tells nothing: a quote that a client left open would swallow what our own proxy has added.
 */
export function elementsOfForwarded (value: string): ForwardedElement[] | undefined {
  const elements: ForwardedElement[] = []
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const found = pattern.exec(value)
    if (found) at = pattern.lastIndex
    return found
  }
  for (;;) {
    let from: Hop
    let scheme: Scheme | undefined
    const names = new Set<string>()
    for (;;) {
      take(space)
      const name = take(token)?.[0].toLowerCase()
      if (name !== undefined) {
        if (names.has(name) || value[at] !== '=') return undefined
        names.add(name)
        at++
        const found = value[at] === '"' ? take(quoted)?.[1]?.replace(/\\(.)/g, '$1') : take(token)?.[0]
        if (found === undefined) return undefined
        if (name === 'for') from = nodeOf(found)
        if (name === 'proto') scheme = schemeOf(found)
      }
      take(space)
      if (value[at] !== ';') break
      at++
    }
    if (names.size > 0) elements.push({ from, scheme }) // RFC 9110, 5.6.1: a list may have empty elements
    if (at === value.length) return elements
    if (value[at] !== ',') return undefined
    at++
  }
}

function nodeOf (node: string): Hop {
  const [, ip = '', port] = /^\[([\da-f:.]+)\](?::(\d{1,5}))?$/i.exec(node) ?? /^([\d.]+)(?::(\d{1,5}))?$/.exec(node) ?? []
  if (isIP(ip) === 0 || isIPv6(ip) !== node.startsWith('[')) return undefined
  return { ip, port: port === undefined ? undefined : Number(port) }
}

function bareIPv6 (node: string): Hop {
  return isIPv6(node) && !node.includes('%') ? { ip: node, port: undefined } : undefined
}
