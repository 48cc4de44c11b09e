import { useEffect, useRef, useState } from 'preact/hooks'
import type { PlacedMark, Timeline } from '../evidence/timeline.js'
import { gatewayNowMs } from './api.js'
import { type Lane, lanesOf, type Look, looks, moved, type Span, wholeSpan, within, zoomed } from './timeline-layout.js'
import { clockOf, countOf } from './words.js'

const rowHeight = 15
const labelHeight = 18
const laneHeight = labelHeight + 4 * rowHeight + 8
const axisHeight = 22
const ticks = 5

/** More marks than these are drawn as lines without a shape. */
const shapesMax = 1_500

interface PictureProps {
  readonly timeline: Timeline
  readonly selected: PlacedMark | undefined
  readonly select: (mark: PlacedMark) => void
  /** Told what is shown, when that changes. */
  readonly shows: (span: Span) => void
}

/** Lanes for the user and each device, bars for connections, marks for what happened. The list below says the same. */
export function Picture ({ timeline, selected, select, shows }: PictureProps) {
  const all = wholeSpan(timeline.marks, gatewayNowMs())
  const [span, setSpan] = useState(all)
  const [width, setWidth] = useState(900)
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const element = box.current!
    const resized = new ResizeObserver(() => { setWidth(Math.max(280, element.clientWidth)) })
    resized.observe(element)
    return () => { resized.disconnect() }
  }, [])
  const show = (span: Span) => {
    setSpan(span)
    shows(span)
  }
  const keys: Readonly<Record<string, () => Span>> = {
    '+': () => zoomed(span, 0.5),
    '=': () => zoomed(span, 0.5),
    '-': () => zoomed(span, 2),
    ArrowLeft: () => moved(span, -0.25),
    ArrowRight: () => moved(span, 0.25),
    0: () => all,
  }
  const x = (atMs: number) => (atMs - span.fromMs) / (span.toMs - span.fromMs) * width
  const lanes = lanesOf(timeline)
  const visible = within(timeline.marks, span)
  return (
    <div>
      <div class='zoom' role='group' aria-label='What the picture shows'>
        <button type='button' onClick={() => { show(moved(span, -0.25)) }}>Earlier</button>
        <button type='button' onClick={() => { show(zoomed(span, 0.5)) }}>Zoom in</button>
        <button type='button' onClick={() => { show(zoomed(span, 2)) }}>Zoom out</button>
        <button type='button' onClick={() => { show(moved(span, 0.25)) }}>Later</button>
        <button type='button' onClick={() => { show(all) }}>All</button>
      </div>
      <div
        ref={box} class='picture' tabIndex={0} role='img'
        aria-label={labelOf(visible.length)}
        onKeyDown={event => {
          const next = keys[event.key]
          if (!next || event.ctrlKey || event.metaKey) return
          event.preventDefault()
          show(next())
        }}
        onWheel={event => {
          if (!event.ctrlKey) return
          event.preventDefault()
          const at = span.fromMs + event.offsetX / width * (span.toMs - span.fromMs)
          show(zoomed(span, event.deltaY < 0 ? 0.7 : 1.4, at))
        }}
      >
        <svg width={width} height={lanes.length * laneHeight + axisHeight}>
          {lanes.map((lane, i) => (
            <g key={lane.deviceId} transform={`translate(0 ${i * laneHeight})`}>
              <LaneView
                lane={lane} timeline={timeline} marks={visible.filter(({ deviceId }) => deviceId === lane.deviceId)}
                x={x} width={width} selected={selected} select={select} isCrowded={visible.length > shapesMax}
              />
            </g>
          ))}
          <g class='axis' transform={`translate(0 ${lanes.length * laneHeight})`}>
            {Array.from({ length: ticks }, (_, i) => {
              const atMs = span.fromMs + (span.toMs - span.fromMs) * (i + 0.5) / ticks
              return <text key={i} x={x(atMs)} y={15} text-anchor='middle'>{clockOf(atMs)}</text>
            })}
          </g>
        </svg>
      </div>
    </div>
  )
}

interface LaneProps extends Pick<PictureProps, 'timeline' | 'selected' | 'select'> {
  readonly lane: Lane
  readonly marks: readonly PlacedMark[]
  readonly x: (atMs: number) => number
  readonly width: number
  readonly isCrowded: boolean
}

function LaneView ({ lane, timeline, marks, x, width, selected, select, isCrowded }: LaneProps) {
  const { deviceId, platform } = lane
  const bars = timeline.connections.filter(bar => bar.deviceId === deviceId)
  return (
    <>
      <line class='ground' x1={0} x2={width} y1={laneHeight - 2} y2={laneHeight - 2} />
      <text class='lane' x={4} y={13}>{deviceId === '' ? 'the user' : `${deviceId} (${platform || 'unknown'})`}</text>
      {bars.map(({ connectionId, openedAtMs, closedAtMs, nodeId, code }) => {
        const from = Math.max(-5, x(openedAtMs))
        const to = Math.min(width + 5, closedAtMs === null ? width + 5 : x(closedAtMs))
        if (to < from) return null
        return (
          <rect
            key={connectionId} class={code === '' ? 'bar open' : 'bar'} x={from} y={rowY(1) - 5} rx={2}
            width={Math.max(2, to - from)} height={10}
          >
            <title>{`connection ${connectionId} on ${nodeId}${code === '' ? ', open' : `, ${code}`}`}</title>
          </rect>
        )
      })}
      {marks.map((mark, i) => {
        const look = looks[mark.event]
        return (
          <g
            key={`${mark.position} ${mark.event} ${mark.messageId} ${i}`}
            class={`mark ${look.tone}${mark === selected ? ' selected' : ''}`} data-event={mark.event}
            transform={`translate(${x(mark.atMs)} ${rowY(look.row)})`} onClick={() => { select(mark) }}
          >
            <title>{titleOf(mark)}</title>
            <circle class='reach' r={9} />
            {isCrowded ? <path d='M0-5V5' /> : <path d={shapes[look.shape]} />}
          </g>
        )
      })}
    </>
  )
}

function labelOf (count: number): string {
  return `Timeline with ${countOf(count, 'mark')}; + and - zoom, arrows move, 0 shows all; the list below has them in words`
}

function titleOf ({ event, messageId, seq, code, atMs }: PlacedMark): string {
  return [event, messageId, seq === 0 ? '' : `#${seq}`, code, clockOf(atMs)].filter(part => part !== '').join(' ')
}

const shapes: Readonly<Record<Look['shape'], string>> = {
  up: 'M0-6L5 4H-5Z',
  down: 'M0 6L5-4H-5Z',
  circle: 'M-5 0A5 5 0 1 1 5 0A5 5 0 1 1-5 0Z',
  cross: 'M-5-5L5 5M-5 5L5-5',
  diamond: 'M0-6L6 0L0 6L-6 0Z',
  line: 'M0-8V8',
}

function rowY (row: number): number { return labelHeight + rowHeight * (row + 0.5) }
