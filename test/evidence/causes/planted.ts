import type { Inquiry } from '../../../evidence/inquiry.js'
import type { Verdict } from '../../../evidence/trace.js'

/** A message that went wrong, by what was done to it. */
export interface Planted {
  /** What was done, in the words of the one who did it. */
  readonly fault: string
  readonly userId: string
  readonly inquiry: Inquiry
  /** The verdict and its cause that say so: `unacked/heartbeat-timeout`, or `acked` where there is no cause. */
  readonly expected: string
}

/** One that has been asked about. */
export interface Judged extends Planted { readonly found: string, readonly text: string }

export function labelOf ({ code, cause }: Verdict): string { return cause === '' ? code : `${code}/${cause}` }

/** Rows are faults, columns verdicts; every number belongs under the verdict that its row names first. */
export function confusionTable (judged: readonly Judged[]): string[] {
  const faults = new Map<string, Judged[]>()
  for (const each of judged) faults.set(each.fault, [...faults.get(each.fault) ?? [], each])
  const verdicts = [...new Set(judged.flatMap(({ expected, found }) => [expected, found]))].sort()
  const width = Math.max(...[...faults.keys()].map(fault => fault.length))
  const header = verdicts.map((verdict, i) => `${String(i + 1).padStart(3)}  ${verdict}`)
  const numbers = `${' '.repeat(width)} ${verdicts.map((_, i) => String(i + 1).padStart(3)).join('')}`
  const rows = [...faults].map(([fault, of]) => {
    const cells = verdicts.map(verdict => {
      const count = of.filter(({ found }) => found === verdict).length
      const own = of[0]!.expected === verdict
      return (count === 0 ? (own ? '0' : '.') : `${count}`).padStart(3)
    })
    return `${fault.padEnd(width)} ${cells.join('')}`
  })
  return [...header, '', numbers, ...rows]
}
