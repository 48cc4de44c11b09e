import { useEffect, useRef } from 'preact/hooks'
import Plot from 'uplot'
import { numberOf } from './words.js'

export interface Series {
  readonly name: string
  /** One for each time; null where there is none. */
  readonly values: ReadonlyArray<number | null>
}

interface ChartProps {
  readonly title: string
  readonly unit: string
  /** Seconds since 1970. */
  readonly times: readonly number[]
  readonly series: readonly Series[]
}

/** Told apart by people with any kind of colour vision (Okabe and Ito), on a light ground and on a dark one. */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b58900', '#56b4e9', '#8c6bb1', '#7f7f7f']

const height = 170

/** A chart that has just begun shows so much time all the same. */
const spanSecondsMin = 300

/** A line chart over time that grows with its data. Below it the last values stand in words. */
export function Chart ({ title, unit, times, series }: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<Plot>(undefined)
  const names = series.map(({ name }) => name).join('\n')
  const data: Plot.AlignedData = [[...times], ...series.map(({ values }) => [...values])]

  useEffect(() => {
    const element = box.current!
    const dark = matchMedia('(prefers-color-scheme: dark)')
    const draw = () => {
      plot.current?.destroy()
      plot.current = new Plot(optionsOf(element.clientWidth, series.map(({ name }) => name)), data, element)
    }
    draw()
    const resized = new ResizeObserver(() => { plot.current?.setSize({ width: element.clientWidth, height }) })
    resized.observe(element)
    dark.addEventListener('change', draw)
    return () => {
      resized.disconnect()
      dark.removeEventListener('change', draw)
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [names])
  useEffect(() => { plot.current?.setData(data) })

  return (
    <figure class='chart'>
      <figcaption>{title}{unit === '' ? '' : `, ${unit}`}</figcaption>
      <div ref={box} aria-hidden='true' />
      {series.length === 0 && <p class='quiet'>None.</p>}
      <ul class='last'>
        {series.map(({ name, values }, i) => (
          <li key={name}>
            <svg width='10' height='10' aria-hidden='true'><rect width='10' height='10' fill={colourOf(i)} /></svg>
            {' '}{name}: <output>{numberOf(values.at(-1))}</output>
          </li>
        ))}
      </ul>
    </figure>
  )
}

function colourOf (i: number): string { return colours[i % colours.length]! }

function optionsOf (width: number, names: readonly string[]): Plot.Options {
  const style = getComputedStyle(document.documentElement)
  const stroke = style.getPropertyValue('--quiet')
  const grid = { stroke: style.getPropertyValue('--line'), width: 1 }
  const axis = { stroke, grid, ticks: grid }
  return {
    width,
    height,
    legend: { show: false },
    cursor: { y: false },
    scales: {
      x: { range: (_plot, min, max) => [Math.min(min, max - spanSecondsMin), max] },
      y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [axis, { ...axis, size: 56, values: (_plot, values) => values.map(numberOf) }],
    series: [{}, ...names.map((label, i) => ({ label, stroke: colourOf(i), width: 1.5, points: { show: false } }))],
  }
}
