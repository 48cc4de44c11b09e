/*
  What nodes say to each other about groups of readers (gateway/groups): an ack arrives at any node, and the one that
  has the partition keeps it.
*/

/** To the node that has a partition for a group: all before this place is done. Answered by `AckKnown`. */
export interface AskAck {
  readonly type: 'askAck'
  readonly nodeId: string
  /** Where the answer goes. */
  readonly askNodeId: string
  readonly askId: number
  /** Whose group it is; empty for the default app. */
  readonly app: string
  readonly group: string
  readonly stream: string
  readonly partition: number
  /** Offset of the first block that is not done, and how many of its items are. */
  readonly next: bigint
  readonly index: number
  /** Of the lease by which it was given. */
  readonly epoch: number
}

export interface AckKnown {
  readonly type: 'ackKnown'
  readonly nodeId: string
  readonly askId: number
  /** Why it is not kept, a code of schemas/errors.ts; empty where it is durable. */
  readonly code: string
}
