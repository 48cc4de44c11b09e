import type { Step } from '../evidence/trace.js'
import { clockOf, timeOf, whileOf } from './words.js'

/** Steps further apart than this have a longer line between them; ten times as far, a line as much longer again. */
const shortMs = 10
const pixelsPerTenfold = 14

/** The steps of a trace, one below the other; the line between two is the longer the more time passed. */
export function Steps ({ steps }: { readonly steps: readonly Step[] }) {
  return (
    <ol class='steps'>
      {steps.map(({ position, atMs, afterMs, event, stage, stageMs, nodeId, connectionId, text }, i) => (
        <li key={`${position} ${event} ${i}`} class={`step ${event}`}>
          {i > 0 && (
            <div class='between' style={{ height: `${lengthOf(afterMs)}px` }}>
              <span>{whileOf(afterMs)}</span>
            </div>
          )}
          <div class='at'>
            <span class='dot' aria-hidden='true' />
            <strong>{event}</strong>
            <time dateTime={new Date(atMs).toISOString()} title={timeOf(atMs)}>{clockOf(atMs)}</time>
            <span>{text}</span>
            <span class='quiet'>
              {stage === '' ? '' : `${stage.replace('-', ' to ')}: ${whileOf(stageMs)}; `}
              {connectionId === '' ? '' : `connection ${connectionId} on ${nodeId}; `}entry {position}
            </span>
          </div>
        </li>
      ))}
    </ol>
  )
}

/** In pixels; for clocks of two nodes a step may come before the one that it follows. */
function lengthOf (ms: number): number {
  return 20 + pixelsPerTenfold * Math.log10(Math.max(1, ms / shortMs))
}
