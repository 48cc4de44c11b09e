import type { Entry } from './facts.js'
import type { NodeEntry, UplinkAccepted } from './records.js'

/** What two processes must agree on about a stream: its name, its record's codec, what its records are keyed by. */
export interface Stream<T> {
  /** Name of design.md 2; a Kafka topic is `<prefix>.<name>`. */
  readonly name: string
  /** True where one stored record carries all items of a block; false where each item is a record of its own. */
  readonly blocks: boolean
  /** What decides the partition: the user id, or the node id. */
  key (item: T): string
  /** Standard Avro `array<record>` behind a single-object header. The result is valid until the next call. */
  encodeBlock (items: readonly T[]): Buffer
  /** @throws GatewayError `bad-record` with the reason; never ends or hangs the process, whatever the bytes */
  decodeBlock (bytes: Uint8Array): T[]
}

export declare const ledger: Stream<Entry>
export declare const uplinks: Stream<UplinkAccepted>
export declare const nodes: Stream<NodeEntry>
