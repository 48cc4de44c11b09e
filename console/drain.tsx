import type { DrainState } from '../gateway/drain-requests.js'
import { path } from './api.js'
import { linkTo, useAsked } from './hooks.js'
import { CommandLine, Table, Trouble } from './parts.js'
import { countOf, curl, numberOf, timeOf, whileOf } from './words.js'

/** Connections that are listed; the others are counted, and in the answer of the API. */
const listedMax = 200

type Move = NonNullable<DrainState['moves']>[number] & { readonly app?: string }

/** How far a drain is, and at its end what became of each connection. */
export function Drain ({ nodeId }: { readonly nodeId: string }) {
  const address = path`/v1/nodes/${nodeId}/drain`
  const { value, error } = useAsked<DrainState>(`${address}?moves=false`, 1_000)
  const isOver = value !== undefined && (value.state === 'done' || value.state === 'broken-off')
  const report = useAsked<DrainState>(isOver ? `${address}?moves=true` : undefined)
  return (
    <section aria-labelledby='drain'>
      <h2 id='drain'>Drain of {nodeId}</h2>
      <Trouble error={error} />
      {error?.code === 'forbidden' && <p>Where there are apps it wants a key with the scope <code>admin</code>.</p>}
      {value && <Numbers drain={value} />}
      <Trouble error={report.error} />
      {report.value?.moves && <Moves moves={report.value.moves as readonly Move[]} />}
      <CommandLine text={curl(`${address}?moves=true`)} />
    </section>
  )
}

function Numbers ({ drain }: { readonly drain: DrainState }) {
  const { state, startedAtMs, left, total, asked, resumed, closed, uplinksLost, downlinksLost, members } = drain
  return (
    <>
      <p role='status'>
        {state}, begun at {timeOf(startedAtMs)}: of {countOf(total, 'connection')} {asked} asked to leave, {left} left.
      </p>
      <progress max={Math.max(1, total)} value={total === 0 ? 1 : left} aria-label='Connections that have left' />
      <dl class='tiles'>
        {([
          ['seen on another node', resumed], ['closed by the node', closed], ['uplinks lost', uplinksLost],
          ['downlinks lost', downlinksLost], ['members of rooms that are back', `${drain.membersResumed} of ${members}`],
        ] as const).map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd>{typeof value === 'string' ? value : numberOf(value)}</dd></div>
        ))}
      </dl>
    </>
  )
}

function Moves ({ moves }: { readonly moves: readonly Move[] }) {
  const heads = ['User', 'Device', 'Connection', 'Left', 'Resumed on', 'After', 'Dark for', 'Lost']
  // Those that somebody has to look at come first.
  const listed = moves.toSorted((a, b) => worth(b) - worth(a)).slice(0, listedMax)
  return (
    <>
      <h3>What became of them</h3>
      {moves.length > listed.length && <p class='quiet'>{listed.length} of {moves.length}; those that were not seen again come first.</p>}
      <Table label='What became of them' heads={heads}>
        {listed.map(({ app = '', userId, deviceId, connectionId, closed, toNodeId, afterMs, darkMs, ...lost }) => (
          <tr key={connectionId}>
            <td><a href={linkTo('user', userId, { app })}>{userId}</a>{app === '' ? '' : ` of ${app}`}</td>
            <td>{deviceId}</td>
            <td>{connectionId}</td>
            <td>{closed ? 'closed by the node' : 'by itself'}</td>
            <td>{toNodeId === '' ? 'not seen again' : toNodeId}</td>
            <td class='number'>{afterMs < 0 ? '' : whileOf(afterMs)}</td>
            <td class='number'>{darkMs < 0 ? '' : whileOf(darkMs)}</td>
            <td>{lostOf(lost.uplinksLost, 'uplink')} {lostOf(lost.downlinksLost, 'downlink')}</td>
          </tr>
        ))}
      </Table>
    </>
  )
}

function worth ({ uplinksLost, downlinksLost, toNodeId, closed }: Move): number {
  return Math.max(0, uplinksLost) + Math.max(0, downlinksLost) + (toNodeId === '' ? 0.5 : 0) + (closed ? 0.25 : 0)
}

function lostOf (count: number, what: string): string {
  return count === 0 ? '' : count < 0 ? `${what}s not known` : countOf(count, what)
}
