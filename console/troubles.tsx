import type { LoadAnswer } from '../gateway/console/load-history.js'
import type { HealthAnswer, Trouble as Lasting } from '../gateway/health.js'
import type { NodesAnswer } from '../gateway/http/nodes.js'
import type { FollowerLag } from '../gateway/lag.js'
import type { NodeRow } from '../projections/nodes.js'
import { conditions } from '../schemas/conditions.js'
import { gatewayNowMs } from './api.js'
import { linkTo, useAsked } from './hooks.js'
import { CommandLine, Trouble } from './parts.js'
import { signsIn } from './signs.js'
import type { Wrong } from './wrong.js'
import { command, countOf, whileOf } from './words.js'

/** Behind for so long is worth a look. */
const lagMs = 10_000

interface TroublesProps {
  readonly nodeId: string
  readonly load: LoadAnswer | undefined
}

/**
 * What is wrong right now: conditions of this node, nodes that are away or busy, followers that are behind, and what
 * happens too often on all nodes.
 */
export function Troubles ({ nodeId, load }: TroublesProps) {
  const health = useAsked<HealthAnswer>('/v1/health', 2_000)
  const nodes = useAsked<NodesAnswer>('/v1/nodes', 5_000)
  const lag = useAsked<{ followers: FollowerLag[] }>('/v1/lag', 10_000)
  const wrong = [
    ...health.value?.troubles.map(trouble => ofNode(trouble, nodeId)) ?? [],
    ...nodes.value?.nodes.flatMap(ofTable) ?? [],
    ...lag.value?.followers.flatMap(ofFollower) ?? [],
    ...load ? signsIn(load) : [],
  ]
  const isKnown = health.value !== undefined && nodes.value !== undefined
  return (
    <section aria-labelledby='wrong'>
      <h2 id='wrong'>Wrong right now</h2>
      <Trouble error={health.error ?? nodes.error ?? lag.error} />
      {isKnown && wrong.length === 0 && <p role='status' class='good'>Nothing that node {nodeId} knows of.</p>}
      <ul class='wrong'>
        {wrong.map(({ key, title, text, mends, command, link, isGrave }) => (
          <li key={key} class={isGrave ? 'grave' : ''}>
            <strong>{title}</strong>
            <p>{text}</p>
            <p><em>What ends it:</em> {mends}</p>
            {link && <p><a href={link.to}>{link.text}</a></p>}
            <CommandLine text={command} />
          </li>
        ))}
      </ul>
      {isKnown && nodes.value!.nodes.length > 1 && (
        <p class='quiet'>Conditions are those of node {nodeId}; each other node tells its own on its own console. See <a href={linkTo('nodes')}>all nodes</a>.</p>
      )}
    </section>
  )
}

function ofNode ({ condition, what, reason, sinceMs, heals, stops }: Lasting, nodeId: string): Wrong {
  return {
    key: `${condition} ${what}`,
    title: `${condition}${what === '' ? '' : `, ${what}`}, for ${whileOf(gatewayNowMs() - sinceMs)}`,
    text: `${meaningOf(condition)}Why: ${reason}.${stops ? ` Node ${nodeId} is not ready because of it.` : ''}`,
    mends: heals,
    command: command('doctor'),
    isGrave: stops,
  }
}

/** A newer node may have a condition that these pages do not know. */
function meaningOf (condition: string): string {
  const { meaning } = (conditions as Readonly<Partial<typeof conditions>>)[condition as Lasting['condition']] ?? {}
  return meaning === undefined ? '' : `${meaning} `
}

function ofTable ({ nodeId, state, alive, percent, reported }: NodeRow): Wrong[] {
  const wrong = (title: string, text: string, mends: string, text2: string, isGrave = true): Wrong[] =>
    [{ key: `node ${nodeId}`, title, text, mends, command: text2, isGrave, link: { text: 'All nodes', to: linkTo('nodes') } }]
  if (state === 'stopped') return []
  if (state === 'lost' || !alive) {
    return wrong(`Node ${nodeId} is ${state === 'lost' ? 'lost' : 'silent'}`,
      'It has not reported within its lease. Its connections are closed in the ledger, and their clients go to other nodes.',
      'Start it again, or take it out for good: then nothing is to be done.',
      `LEDGERLINE_NODE_ID=${nodeId} ledgerline start`)
  }
  if (state === 'draining') {
    return wrong(`Node ${nodeId} drains`, `${percent ?? 100} of a hundred of its connections are asked to leave.`,
      'By itself once they have left; or the drain is ended.', command('drain', nodeId, '--cancel'), false)
  }
  if (reported.admissionLevel > 0) {
    return wrong(`Node ${nodeId} is overloaded`,
      `Uplinks wait ${reported.waitMs} ms for its process, and ${reported.waitMsMax} are allowed: it refuses those ` +
        'of the lowest priority.',
      'By itself once fewer come. For good: more nodes, or have a part of its clients go to others.',
      command('drain', nodeId, '--percent', '30'))
  }
  return []
}

function ofFollower (lag: FollowerLag): Wrong[] {
  return [...behind(lag), ...overtaken(lag)]
}

function behind ({ follower, stream, blocks, ms, standing }: FollowerLag): Wrong[] {
  if (standing.length === 0 && ms < lagMs) return []
  const stands = standing.map(({ partition, reason }) => `partition ${partition} stands still: ${reason}`).join('; ')
  return [{
    key: `lag ${follower} ${stream}`,
    title: `${follower} is behind the stream ${stream}`,
    text: `${countOf(blocks, 'block is', 'blocks are')} to be done, the oldest ${whileOf(ms)} old. ${stands}`,
    mends: 'By itself where its node works on; otherwise what the reasons above name. A reader that is away goes on ' +
      'when it comes back.',
    command: command('lag'),
    isGrave: standing.length > 0,
    link: { text: 'All streams', to: linkTo('streams') },
  }]
}

/** Only readers lose by it: what nodes themselves follow is never cut behind them. */
function overtaken ({ follower, stream, gone }: FollowerLag): Wrong[] {
  if (gone === 0) return []
  return [{
    key: `gone ${follower} ${stream}`,
    title: `Retention has deleted ${countOf(gone, 'block')} of ${stream} before ${follower} had read them`,
    text: 'The reader was away for longer than the stream is kept. It is told of the hole when it comes back, and what was in it is gone for good.',
    mends: 'Start the reader again; have it read anew what it lacks from another source. Keep the stream for longer than a reader may be away: ' +
      'LEDGERLINE_RETENTION_MS or LEDGERLINE_RETENTION_BYTES.',
    command: command('topics'),
    isGrave: true,
    link: { text: 'All streams', to: linkTo('streams') },
  }]
}
