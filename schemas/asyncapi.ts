import {
  connections, downlinks, downlinksRejected, nodes, offline, posts, presence, receipts, type RecordStream, uplinks,
} from './streams.js'

/** What `asyncApi` tells of a stream beside its schema. */
export interface DescribedStream {
  readonly stream: RecordStream<any>
  /** What one record is, in words. */
  readonly summary: string
  /** Who writes it: the gateway, or business services. */
  readonly writtenBy: 'gateway' | 'services'
}

/** All that business services read and write, as docs/streams.md has them. */
export const businessStreams: readonly DescribedStream[] = [
  { stream: uplinks, summary: 'An uplink that was accepted', writtenBy: 'gateway' },
  { stream: downlinks, summary: 'A request to send, or to post in a room', writtenBy: 'services' },
  { stream: downlinksRejected, summary: 'A command that will never be sent, and why', writtenBy: 'gateway' },
  { stream: connections, summary: 'A connection that ended', writtenBy: 'gateway' },
  { stream: presence, summary: 'A device that came or went', writtenBy: 'gateway' },
  { stream: receipts, summary: 'How a durable downlink ended on one device', writtenBy: 'gateway' },
  { stream: offline, summary: 'A durable downlink that no device acked in time, or that this is over', writtenBy: 'gateway' },
  { stream: posts, summary: 'A post in a room', writtenBy: 'gateway' },
  { stream: nodes, summary: 'A start, load report, drain or end of a node', writtenBy: 'gateway' },
]

const headers = {
  type: 'object',
  required: ['content-type', 'message-id'],
  properties: {
    'content-type': { type: 'string', enum: ['avro/single-object', 'avro/confluent'] },
    'message-id': { type: 'string', description: 'The same for every copy of the record.' },
    traceparent: { type: 'string', description: 'W3C trace context, made from the message id.' },
  },
}

/** The streams for business services as an AsyncAPI document: topics, keys, headers, and the schema of each record. */
export function asyncApi (version: string, streams = businessStreams): object {
  const of = (part: (described: DescribedStream, id: string) => object) =>
    Object.fromEntries(streams.map(described => [idOf(described), part(described, idOf(described))]))
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Ledgerline: streams for business services',
      version,
      description: 'Kafka topics, named ledgerline.STREAM unless LEDGERLINE_TOPIC_PREFIX says otherwise: see docs/streams.md.',
    },
    defaultContentType: 'avro/single-object',
    channels: of(({ stream: { name }, summary }, id) => ({
      address: `ledgerline.${name}`,
      summary,
      messages: { [id]: { $ref: `#/components/messages/${id}` } },
    })),
    operations: Object.fromEntries(streams.map(described => {
      const id = idOf(described)
      // From where a business service stands.
      const action = described.writtenBy === 'gateway' ? 'receive' : 'send'
      return [`${action}-${id}`, { action, channel: { $ref: `#/channels/${id}` } }]
    })),
    components: {
      messages: of(({ stream: { schema }, summary, writtenBy }) => ({
        name: (schema as { name: string }).name,
        summary,
        ...(writtenBy === 'gateway' ? { headers } : {}),
        payload: { schemaFormat: 'application/vnd.apache.avro+json;version=1.9.0', schema },
        bindings: { kafka: { key: { type: 'string', description: (schema as { doc: string }).doc } } },
      })),
    },
  }
}

/** A dot is no part of a component's id in a reference that every tool reads. */
function idOf ({ stream: { name } }: DescribedStream): string { return name.replaceAll('.', '-') }
