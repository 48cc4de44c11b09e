/** `31 s`, `2.5 min`, `3 h`: a while, for people. */
export function whileOf (ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`
  if (ms < 7_200_000) return `${Math.round(ms / 6_000) / 10} min`
  return ms < 172_800_000 ? `${Math.round(ms / 360_000) / 10} h` : `${Math.round(ms / 8_640_000) / 10} days`
}

/** `14:03:05.120`, of the reader's own zone. */
export function clockOf (atMs: number): string {
  const at = new Date(atMs)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

/** `2026-11-20 14:03:05.120`, of the reader's own zone. */
export function timeOf (atMs: number): string {
  const at = new Date(atMs)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clockOf(atMs)}`
}

/** `12,345.6`: at most three digits behind the point, fewer the larger it is. */
export function numberOf (value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en', { maximumFractionDigits: digits })
}

/** `1 node`, `1,234 nodes` */
export function countOf (count: number, one: string, many = `${one}s`): string {
  return `${numberOf(count)} ${count === 1 ? one : many}`
}

/** `1.5 MiB` */
export function bytesOf (bytes: number): string {
  if (bytes < 1_024) return countOf(bytes, 'byte')
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = -1
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024
    unit++
  }
  return `${numberOf(value)} ${units[unit]}`
}

/** A word as a POSIX shell takes it. */
export function quoted (word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll('\'', '\'\\\'\'')}'`
}

/** `ledgerline WORDS`, each quoted where it needs to be. */
export function command (...words: string[]): string {
  return ['ledgerline', ...words.map(quoted)].join(' ')
}

/** A request, for what no command does. */
export function curl (path: string, method = 'GET'): string {
  const given = method === 'GET' ? '' : `-X ${method} `
  return `curl ${given}-H "authorization: Bearer $LEDGERLINE_API_KEY" ${quoted(location.origin + path)}`
}
