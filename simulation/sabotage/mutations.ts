/** A defect, put into production code to see whether the simulation finds it. */
export interface Mutation {
  readonly name: string
  /** What is wrong then, for people. */
  readonly defect: string
  /** The compiled file, from the folder of all of them. */
  readonly file: string
  /** Text of it that stands there once, and what stands there instead. */
  readonly from: string
  readonly to: string
}

export const mutations: readonly Mutation[] = [
  {
    name: 'uplinks-twice',
    defect: 'an uplink that comes again is accepted again',
    file: 'actors/user/fold.js',
    from: 'if (seq < expected)',
    to: 'if (false)',
  },
  {
    name: 'requests-twice',
    defect: 'a downlink request that comes again is delivered again',
    file: 'actors/user/fold.js',
    from: 'const known = state.requests.take(nameOf.downlink(messageId), contentOf(service, payload), entry.atMs);',
    to: "const known = 'first';",
  },
  {
    name: 'acked-too-far',
    defect: 'an ack of a downlink counts for the next one, too',
    file: 'actors/user/fold.js',
    from: 'acknowledge(state, session, fact.ackedSeq, effects);',
    to: 'acknowledge(state, session, fact.ackedSeq > 0 ? fact.ackedSeq + 1 : 0, effects);',
  },
  {
    name: 'blocks-twice',
    defect: 'a block that a state includes is folded into it again',
    file: 'actors/folding-actor.js',
    from: 'if (block.offset > state.offset) {',
    to: 'if (true) {',
  },
  {
    name: 'checkpoint-empty',
    defect: 'a checkpoint is saved without the states that belong to it',
    file: 'actors/checkpointer.js',
    from: 'await snapshots.save(partition, to, this.#unsaved);',
    to: 'await snapshots.save(partition, to, new Map());',
  },
  {
    name: 'checkpoint-ahead',
    defect: 'a checkpoint does not wait until what its states have accepted is published',
    file: 'actors/checkpointer.js',
    from: 'if (!await published(to - 1n))',
    to: 'if (false)',
  },
  {
    name: 'published-too-far',
    defect: 'a publisher says that it has published a block more than it has',
    file: 'actors/publisher.js',
    from: 'derivedFrom: queue.length === 0 ? this.#folded : blocks.at(-1).offset',
    to: 'derivedFrom: (queue.length === 0 ? this.#folded : blocks.at(-1).offset) + 1n',
  },
  {
    name: 'published-out-of-order',
    defect: 'uplinks that are published together are so in the wrong order',
    file: 'actors/publisher.js',
    from: 'await log.append(stream, partition, items, options);',
    to: 'await log.append(stream, partition, items.toReversed(), options);',
  },
  {
    name: 'nobody-asks-again',
    defect: 'an edge does not ask for what a lost message would have brought',
    file: 'actors/connection/questions.js',
    from: 'links.toUser({',
    to: '(() => {})({',
  },
  {
    name: 'orphans-stay-open',
    defect: 'connections of a node that is gone are not closed',
    file: 'gateway/orphans.js',
    from: 'entries.push(nodeLost(userId, connectionId, reason));',
    to: '',
  },
  {
    name: 'ends-forgotten',
    defect: 'an edge does not tell the ledger that a connection has ended',
    file: 'actors/connection/close.js',
    from: 'if (!life.isInLedger)',
    to: 'if (true)',
  },
  {
    name: 'owner-unheard',
    defect: 'an owner of a partition does not listen to what is asked there',
    file: 'actors/links-redis.js',
    from: 'return this.#listener.join(this.#partition(of, partition));',
    to: 'return Promise.resolve();',
  },
  {
    name: 'sdk-resends-nothing',
    defect: 'the SDK does not send again what had no ack when its connection was lost',
    file: 'client/outbox.js',
    from: 'this.ack(Math.min(uplinkSeq, this.#offeredSeq), []);\n        this.#sentSeq = this.#ackedSeq;',
    to: 'this.ack(Math.min(uplinkSeq, this.#offeredSeq), []);',
  },
  {
    name: 'sdk-acks-too-far',
    defect: 'the SDK takes an ack for one uplink more',
    file: 'client/outbox.js',
    from: 'const count = Math.min(seq - this.#ackedSeq, this.#waiting.length);',
    to: 'const count = Math.min(seq + 1 - this.#ackedSeq, this.#waiting.length);',
  },
  {
    name: 'sdk-hands-on-twice',
    defect: 'the SDK hands on a downlink that came on an earlier connection again',
    file: 'client/inbox.js',
    from: 'if (seq <= this.#receivedSeq) {',
    to: 'if (false) {',
  },
  {
    name: 'acked-before-stored',
    defect: 'an edge acks an uplink before it is in the ledger',
    file: 'actors/connection/uplinks.js',
    from: 'window.give(seq);',
    to: "window.give(seq); connection.write({ op: 'uplinkAck', seq, userSeqs: [] });",
  },
  {
    name: 'queued-before-stored',
    defect: 'a push is answered before it is in the ledger',
    file: 'gateway/push.js',
    from: 'const { offset, index } = await this.#deps.log.append(ledger, partition, piece);',
    to: 'this.#deps.log.append(ledger, partition, piece).catch(() => { }); const { offset, index } = { offset: 0n, index: 0 };',
  },
  {
    name: 'two-under-one-number',
    defect: 'every tenth uplink of a session gets the number of the one before it',
    file: 'actors/user/fold.js',
    from: 'const userSeq = ++state.userSeq;',
    to: 'const userSeq = state.userSeq += session.uplinkSeq % 10 === 0 ? 0 : 1;',
  },
  {
    name: 'told-of-another-number',
    defect: 'a sender that asks again is told the number of the uplink before',
    file: 'actors/user/fold.js',
    from: 'session.answers.length - 1 - (session.uplinkSeq - seq)',
    to: 'session.answers.length - 2 - (session.uplinkSeq - seq)',
  },
  {
    name: 'gaps-accepted',
    defect: 'an uplink behind a gap is accepted',
    file: 'actors/user/fold.js',
    from: 'if (seq > expected)',
    to: 'if (false)',
  },
  {
    name: 'old-close-takes-new',
    defect: 'the end of an old connection takes the new one from its session',
    file: 'actors/user/fold-connections.js',
    from: "if (session.connectionId === connectionId) {\n        session.connectionId = '';",
    to: "const had = session.connectionId;\n    session.connectionId = '';\n    if (had === connectionId) {",
  },
  {
    name: 'older-stays',
    defect: 'a device that connects again does not end its older connection',
    file: 'actors/user/fold-connections.js',
    from: 'makeWay(state, older, entry, fact, effects);',
    to: '',
  },
  {
    name: 'resumes-past-waiting',
    defect: 'a device that returns is told to go on behind what waits for it',
    file: 'actors/user/fold-connections.js',
    from: 'downlinkSeq: headSeq(session) - 1,\n        lastSeq',
    to: 'downlinkSeq: session.nextSeq - 1,\n        lastSeq',
  },
  {
    name: 'partition-begins-late',
    defect: 'the next owner of a partition begins one block too late',
    file: 'actors/owner.js',
    from: 'return partition.next;',
    to: 'return partition.next + 1n;',
  },
  {
    name: 'acks-unreported',
    defect: 'an edge does not tell the ledger what devices have acked',
    file: 'actors/connection/cursor.js',
    from: 'this.#reportedAckedSeq = this.#ackedSeq;\n        return true;',
    to: 'this.#reportedAckedSeq = this.#ackedSeq;\n        return false;',
  },
  {
    name: 'table-too-far',
    defect: 'a table says that it has a block more than it has',
    file: 'projections/table-writer.js',
    from: 'last.next = this.next;',
    to: 'last.next = this.next + 1n;',
  },
  {
    name: 'table-not-caught-up',
    defect: 'a table that could not be written is not caught up from the log',
    file: 'projections/runner.js',
    from: 'this.#recover(partition, rebuilt ? 0 : this.#options.retryMs);',
    to: '',
  },
  {
    name: 'former-life-stays',
    defect: 'connections of the life of a node before its last start are not closed',
    file: 'gateway/orphans.js',
    from: 'return nodeEpoch < first;',
    to: 'return false;',
  },
  {
    name: 'sdk-acks-before-done',
    defect: 'the SDK acks a downlink before the application has done with it',
    file: 'client/inbox.js',
    from: 'await handle(entry.downlink);',
    to: 'this.#done(entry); await handle(entry.downlink);',
  },
  {
    name: 'sdk-sends-unrecorded',
    defect: 'the SDK sends an uplink before it is on record that its number is given',
    file: 'client/outbox.js',
    from: '|| this.#sentSeq >= this.#releasedSeq',
    to: '',
  },
]
