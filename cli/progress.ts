import type { Command } from 'commander'
import { printable } from '../schemas/printable.js'

export interface Progress {
  /** So many more are done. */
  add (count: number): void
  /** Takes the bar away. */
  end (): void
}

export interface ProgressOptions {
  /** What is being done: `audit of the ledger`. */
  readonly label: string
  /** How many there are to do; 0 where nobody knows. */
  readonly total: number
  /** What is counted, in the plural. */
  readonly unit: string
  /** False for none at all: `--no-progress`. */
  readonly progress?: boolean
}

const redrawMs = 100
const lineMs = 10_000
const barChars = 24

export function addProgressOption (command: Command): Command {
  return command.option('--no-progress', 'print no progress on stderr')
}

/** On a terminal a bar with rate and time left; elsewhere one line each 10 s. Both on stderr. */
export function startProgress (given: ProgressOptions, to: NodeJS.WriteStream = process.stderr): Progress {
  const options = { ...given, label: printable(given.label) } // it may be a name that others gave
  if (options.progress === false) return { add () {}, end () {} }
  const startedMs = performance.now()
  let done = 0
  const text = () => describeProgress(options, done, performance.now() - startedMs)
  const timer = to.isTTY
    ? setInterval(() => { to.write(`\r${text()}\x1b[K`) }, redrawMs)
    : setInterval(() => { to.write(`${text()}\n`) }, lineMs)
  timer.unref()
  return {
    add (count) { done += count },
    end () {
      clearInterval(timer)
      if (to.isTTY) to.write('\r\x1b[K')
    },
  }
}

/** One line without its end: `audit  [#####     ]  52 %  41,200 of 79,000 entries, 8,240 a second, 5 s left`. */
export function describeProgress (
  { label, total, unit }: Pick<ProgressOptions, 'label' | 'total' | 'unit'>, done: number, elapsedMs: number
): string {
  const perSecond = done / Math.max(elapsedMs / 1000, 0.001)
  const rate = `${count(perSecond)} a second`
  if (total <= 0) return `${label}  ${count(done)} ${unit}, ${rate}`
  const share = Math.min(1, done / total)
  const bar = '#'.repeat(Math.round(share * barChars)).padEnd(barChars)
  const left = done > 0 ? `, ${duration(Math.max(0, total - done) / perSecond)} left` : ''
  return `${label}  [${bar}]  ${Math.floor(share * 100)} %  ${count(done)} of ${count(total)} ${unit}, ${rate}${left}`
}

function count (value: number): string { return Math.round(value).toLocaleString('en-US') }

function duration (seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3_600)} h ${Math.floor(whole % 3_600 / 60)} min`
}
