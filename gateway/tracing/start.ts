import type { Logger } from 'pino'
import type { Links, LocalEnds } from '../../actors/links.js'
import type { Config, Role } from '../config.js'
import type { NodeTable } from '../node-table.js'
import { type Recorders, Tracing } from './tracing.js'

const rolesOf: Readonly<Record<Recorders, readonly Role[]>> = { edges: ['edge'], 'edges and users': ['edge', 'users'] }

type TracingConfig =
  Pick<Config, 'nodeId' | 'otlpEndpoint' | 'otlpHeaders' | 'otelServiceName' | 'traceRatio' | 'traceUsers'>

export interface StartTracing {
  readonly config: TracingConfig
  readonly links: Links & Pick<LocalEnds, 'traced'>
  readonly nodeTable: NodeTable
  readonly version: string
  readonly logger: Pick<Logger, 'warn'>
}

/** Traces messages where a collector is configured, and loads what that takes only then. */
export async function startTracing (
  { config, links, nodeTable, version, logger }: StartTracing
): Promise<Tracing | undefined> {
  const { otlpEndpoint: endpoint, otlpHeaders: headers = {}, otelServiceName: serviceName, nodeId } = config
  if (endpoint === undefined) return undefined
  const { otlpSpans } = await import('./otlp.js')
  const tracing = new Tracing({
    spans: otlpSpans({
      endpoint,
      headers,
      serviceName,
      nodeId,
      version,
      failed (reason, lost) { logger.warn({ reason, lost }, 'the collector of OpenTelemetry does not take spans') },
    }),
    nodeId,
    ratio: config.traceRatio,
    users: config.traceUsers,
    tell (message, recorders) {
      for (const node of nodeTable.nodesBeside(nodeId, rolesOf[recorders])) {
        links.toTracer({ type: 'traced', nodeId: node, ...message })
      }
    },
  })
  links.traced = message => { tracing.told(message) }
  return tracing
}
