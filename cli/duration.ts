import { InvalidArgumentError } from 'commander'

const unitsMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** For commander: `90s`, `15m`, `12h`, `30d` or `500ms`, in milliseconds. */
export function parseDurationMs (text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text)
  const valueMs = match ? Number(match[1]) * unitsMs[match[2] as keyof typeof unitsMs] : 0
  if (valueMs > 0) return valueMs
  throw new InvalidArgumentError('Want a number and a unit, such as 90s, 15m, 12h or 30d.')
}
