import type { LoadAnswer, NodeField, Values } from '../gateway/console/load-history.js'
import { Chart, type Series } from './chart.js'
import { linkTo } from './hooks.js'
import { useLoad } from './load.js'
import { Page, Trouble } from './parts.js'
import type { PageProps } from './shell.js'
import { Troubles } from './troubles.js'
import { command, curl, numberOf } from './words.js'

/** Followers that the chart of lag shows. */
const shownMax = 8

/** What nodes report, each with its unit. */
const charts: ReadonlyArray<readonly [field: NodeField, title: string, unit: string]> = [
  ['connections', 'Connections', ''],
  ['uplinks', 'Uplinks', 'a second'],
  ['downlinks', 'Downlinks written', 'a second'],
  ['signals', 'Signals written', 'a second'],
  ['posts', 'Posts written to members of rooms', 'a second'],
  ['refusals', 'Uplinks refused', 'a second'],
  ['ends', 'Connections ended', 'a second'],
  ['cpuCores', 'CPU', 'cores'],
  ['loopDelayP99Ms', 'Delay of the event loop, p99', 'ms'],
  ['ackP50Ms', 'Uplink to ack, p50', 'ms'],
  ['ackP99Ms', 'Uplink to ack, p99', 'ms'],
  ['waitMs', 'What uplinks wait for the process', 'ms'],
  ['admissionLevel', 'Priorities refused for overload', ''],
]

/** What there is, what moves, and what is wrong: the page to begin with. */
export function OverviewPage ({ session }: PageProps) {
  const { load, error } = useLoad()
  return (
    <Page title='Overview' shell={[command('lag'), command('doctor'), curl('/v1/health'), curl('/v1/load')]}>
      <Troubles nodeId={session.nodeId} load={load} />
      <Trouble error={error} />
      {load && <Load load={load} />}
    </Page>
  )
}

function Load ({ load }: { readonly load: LoadAnswer }) {
  const { atMs, nodes, refused, ended, settled, lag } = load
  const times = atMs.map(at => at / 1_000)
  const total = (field: NodeField) => sum(nodes.map(node => node[field]))
  return (
    <>
      <section aria-labelledby='now'>
        <h2 id='now'>Now</h2>
        <dl class='tiles'>
          <Tile name='connections' of='all nodes' value={total('connections')} />
          <Tile name='ack p50, ms' of='the slowest node' value={most(nodes.map(({ ackP50Ms }) => ackP50Ms))} />
          <Tile name='ack p99, ms' of='the slowest node' value={most(nodes.map(({ ackP99Ms }) => ackP99Ms))} />
          <Tile name='uplinks a second' of='all nodes' value={total('uplinks')} />
          <Tile name='downlinks a second' of='all nodes' value={total('downlinks')} />
          <Tile name='posts a second' of='all nodes' value={total('posts')} />
          <Tile name='refusals a second' of='all nodes' value={total('refusals')} />
          <Tile name='ends a second' of='all nodes' value={total('ends')} />
        </dl>
      </section>
      <section aria-labelledby='by-node'>
        <h2 id='by-node'>The last hour, by node</h2>
        <div class='charts'>
          {charts.map(([field, title, unit]) => (
            <Chart
              key={field} title={title} unit={unit} times={times}
              series={nodes.map(node => ({ name: node.nodeId, values: node[field] }))}
            />
          ))}
        </div>
      </section>
      <section aria-labelledby='by-code'>
        <h2 id='by-code'>The last hour, by code, of all nodes</h2>
        <div class='charts'>
          <Chart title='Connections ended' unit='a second' times={times} series={byName(ended)} />
          <Chart title='Uplinks refused' unit='a second' times={times} series={byName(refused)} />
          <Chart title='Downlinks that ended on a device' unit='a second' times={times} series={byName(settled)} />
        </div>
      </section>
      <section aria-labelledby='by-follower'>
        <h2 id='by-follower'>The last hour, by follower of a stream</h2>
        <div class='charts'>
          <Chart title='Lag: how long it has not reached an end of the stream' unit='s' times={times} series={mostBehind(lag)} />
        </div>
        <p class='quiet'>
          Those that were furthest behind, looked at every 10 s. <a href={linkTo('streams')}>All streams and who follows them</a>
        </p>
      </section>
    </>
  )
}

function Tile ({ name, of, value }: { readonly name: string, readonly of: string, readonly value: number | null }) {
  return <div><dt>{name}</dt><dd>{numberOf(value)}</dd><dd class='quiet'>{of}</dd></div>
}

function byName (values: Readonly<Record<string, Values>>): Series[] {
  return Object.entries(values).map(([name, values]) => ({ name, values }))
}

/** As many as a chart has colours, ms as seconds. */
function mostBehind (lag: LoadAnswer['lag']): Series[] {
  const most = (values: Series['values']) => Math.max(0, ...values.map(ms => ms ?? 0))
  return byName(lag).sort((a, b) => most(b.values) - most(a.values)).slice(0, shownMax)
    .sort((a, b) => a.name < b.name ? -1 : 1) // so that each keeps its colour
    .map(({ name, values }) => ({ name, values: values.map(ms => ms === null ? null : ms / 1_000) }))
}

function last (values: Values): number | null { return values.at(-1) ?? null }

function sum (all: readonly Values[]): number { return all.reduce((sum, values) => sum + (last(values) ?? 0), 0) }

function most (all: readonly Values[]): number { return Math.max(0, ...all.map(values => last(values) ?? 0)) }
