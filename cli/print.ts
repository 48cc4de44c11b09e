import { printable } from '../schemas/printable.js'

/**
 * Prints `value` on stdout: as one line of JSON, or as `describe` puts it in words. Every command prints by this or by
 * `printJson`: what others have named devices, services and messages stays text, whatever it is made of.
 */
export function print<T> (value: T, json: boolean | undefined, describe: (value: T) => string): void {
  if (json) printJson(value)
  else process.stdout.write(describe(shown(value)))
}

/** One line of JSON on stdout. */
export function printJson (value: unknown): void { process.stdout.write(jsonLine(value)) }

/** @param value or the text of it, as a gateway sent it */
export function jsonLine (value: unknown): string {
  return `${printable(typeof value === 'string' ? value : JSON.stringify(value))}\n`
}

/** One line on stderr. */
export function complain (message: string): void {
  process.stderr.write(`ledgerline: ${printable(message.replaceAll('\n', ' '))}\n`)
}

/** The same value, with every text in it fit to be read on a terminal; names of fields, too, for counts go by them. */
export function shown<T> (value: T): T {
  return shownValue(value) as T
}

function shownValue (value: unknown): unknown {
  if (typeof value === 'string') return printable(value)
  if (Array.isArray(value)) return value.map(shownValue)
  if (typeof value !== 'object' || value === null || !isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [printable(name), shownValue(each)]))
}

function isPlain (value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
