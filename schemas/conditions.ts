/** What may be wrong with a node for a while: docs/operations.md lists it, `/readyz` and `/v1/health` show it. */
export interface ConditionDescription {
  readonly meaning: string
  /** What ends it: by itself, or what a person does. */
  readonly heals: string
  /** The node is not ready while it lasts. False where other nodes would do no better, or it works on all the same. */
  readonly stops: boolean
  /** What is over sooner is nobody's business: not logged above `debug`, not shown, not counted. */
  readonly graceMs: number
}

/** The one home of every health condition. A new one is a row here; see `Health` for how to report it. */
const table = {
  ledger: row(true, 0, 'The log takes no appends, or followers get no answer from it.',
    'By itself once Kafka answers again; on one node, room on the disk.'),
  disk: row(false, 0, 'Commits of the embedded log take seconds, and acks and answers wait for them.',
    'By itself once the disk is faster, or has less to do.'),
  appends: row(false, 5_000, 'Appends to some partitions of the log are tried again, and what is behind them waits.',
    'By itself once the brokers that lead these partitions answer.'),
  refused: row(false, 0, 'Kafka refuses to append to some partitions or to read them, or would refuse, for a reason that does not pass by itself.',
    'A person, who mends what its reason names; the node tries again every 10 s. If it is the ledger, the node is not ready.'),
  topics: row(false, 0, 'A topic is not what this gateway needs: it grew, was created anew, is compacted, or lets brokers delete what nodes still need.',
    'A person, who mends what its reason names. If the topic was created anew, the node is not ready until it is started again.'),
  throttled: row(false, 5_000, 'A broker holds this node to a quota: its requests wait for as long as the broker says.',
    'By itself when the load goes down; or a higher quota for its user or client id (`kafka-configs --entity-type users`).'),
  redis: row(true, 1_000, 'There is no connection to Redis, or Redis does not answer.', 'By itself once Redis answers again.'),
  'redis-latency': row(false, 0, 'Redis takes seconds to answer, and connects, acks and presence wait for it.',
    'By itself once Redis is faster, or has less to do.'),
  clock: row(false, 5_000, 'The time of day of this machine is more than 5 s off that of Redis, and so is what goes by the times of several nodes, such as the end of a ban.',
    'A time service on the machine (chrony, systemd-timesyncd).'),
  links: row(true, 5_000, 'A channel between nodes does not work, so acks and downlinks may not arrive.',
    'By itself: the node subscribes anew until its own messages come back.'),
  users: row(true, 10_000, 'The users of a partition of the ledger do not process its new entries.',
    'What its reason names; after a restart of the node another one takes the partition.'),
  rooms: row(true, 10_000, 'The rooms of a partition of the stream `rooms` do not process its new entries.',
    'What its reason names; after a restart of the node another one takes the partition.'),
  posts: row(true, 5_000, 'Posts in rooms can not be published.',
    'By itself once the stream `posts` takes them; or a person, who mends what its reason names.'),
  snapshots: row(false, 5_000, 'States of users or rooms can not be saved; the log keeps what they are made of.',
    'By itself once Redis, or the disk, takes them again.'),
  retention: row(false, 5_000, 'Old entries of the ledger, or of `rooms`, are not deleted: a saved state or a table has yet to take them in, or Kafka refuses.',
    'By itself once what its reason names goes on; or the right to delete, if Kafka refuses.'),
  uplinks: row(true, 5_000, 'Accepted uplinks can not be published, or their posts can not be given to rooms.',
    'By itself once the streams `uplinks` and `rooms` take them; or a person, who mends what its reason names.'),
  tables: row(true, 5_000, 'A table can not be written, so presence, routing or the node table is old.',
    'By itself once Redis, or the disk, takes it again.'),
  connections: row(false, 5_000, 'The stream `connections` can not be written.', 'By itself once the log takes it again.'),
  downlinks: row(true, 5_000, 'A command of the stream `downlinks` can not be carried out, and those behind it wait.',
    'By itself once the ledger takes it.'),
  webhooks: row(false, 5_000, 'A webhook delivers nothing, or what it gave up can not be stored; its records wait in their streams. Or retention has deleted records before the webhook took them. Or the file of webhooks can not be used: those that were read last stay in use.',
    'By itself once its server takes requests again, or a day after the last deletion; a new entry in the file of `LEDGERLINE_WEBHOOKS` if the server answered 410; a good file.'),
  followers: row(true, 5_000, 'This node can not follow a stream: its group does not answer, or its place is not known.',
    'By itself once Kafka and Redis answer; or rights to the group and the topic, if Kafka refuses.'),
  'cut-back': row(false, 0, 'The log lost entries of a partition that were already read, and has other entries in their place: a follower stands still.',
    'A person, who removes what the follower has stored, so that it is made again from the log ("A log that was cut back").'),
  reports: row(true, 5_000, 'This node can not report to the others; after its lease they take it for lost.',
    'By itself once the log takes its reports.'),
  'node-table': row(false, 5_000, 'The node table can not be read: endpoints come from an old copy.',
    'By itself once Redis answers again.'),
  watch: row(false, 5_000, 'This node can not watch the leases of others: a node that dies now is not declared lost.',
    'By itself once the log and the tables answer.'),
  descriptors: row(true, 0, 'The process has so few file descriptors left that new clients are sent away.',
    'By itself once clients leave; a higher `nofile`, or a lower `LEDGERLINE_CONNECTIONS_MAX`.'),
  memory: row(true, 0, 'Memory is short: slow readers are closed, then new clients are sent away, then uplinks refused.',
    'By itself as clients read what waits for them; or more memory (`--max-old-space-size`, `LEDGERLINE_MEMORY_BYTES_MAX`) or more nodes.'),
  overload: row(false, 0, 'Uplinks wait for their turn longer than they may: those of the lowest priority are refused, and a part of the users.',
    'By itself once fewer come; more nodes, or a faster core.'),
  'schema-registry': row(false, 1_000, 'The registry does not give out a schema: records that were written with it wait, and so do those behind them.',
    'By itself once the registry of `SCHEMA_REGISTRY_URL` answers; or the right to read its schemas, if it refuses.'),
  'key-set': row(false, 0, 'The node can not fetch the keys that client tokens are checked with; it uses the last ones for a day.',
    'By itself once the host of `LEDGERLINE_JWKS_URL`, or of the issuer that is named, answers with a key set.'),
  auth: row(false, 1_000, 'The service that is asked about client tokens does not answer, or its answers break the schema.',
    'By itself once `LEDGERLINE_AUTH_URL` answers a question as its schema says.'),
  certificate: row(false, 0, 'The certificate of the listeners expires soon, or has expired, or the new one can not be used.',
    'By itself once good files are where `LEDGERLINE_TLS_CERT` and `LEDGERLINE_TLS_KEY` say.'),
  'api-keys': row(false, 0, 'The file of API keys can not be used; those that were read last stay in use.',
    'By itself once a good file is where `LEDGERLINE_API_KEYS_FILE` says.'),
  apps: row(false, 0, 'The file of apps can not be used; those that were read last stay in use.',
    'By itself once a good file is where `LEDGERLINE_APPS` says; or what its reason names, where that names the apps.'),
} as const satisfies Record<string, ConditionDescription>

export type ConditionName = keyof typeof table

export const conditions: Readonly<Record<ConditionName, ConditionDescription>> = table

function row (stops: boolean, graceMs: number, meaning: string, heals: string): ConditionDescription {
  return { meaning, heals, stops, graceMs }
}

/**
 * Where every part of a node tells what is wrong with it, while it is. The registry makes of it one log line at the
 * start and one at the end, the metric `ledgerline_condition_seconds`, and what `/readyz` and `/v1/health` show.
 *
 * A loop that tries again calls `begin` at each failure, and `end` once it has succeeded; both may be called as often
 * as one likes. What ends with its owner (a partition that was given back) is ended by the owner.
 */
export interface Health {
  /**
   * @param reason why, as of now; a later one replaces it
   * @param what which one of its kind (`partition 3`), where there are several: each begins and ends on its own
   */
  begin (name: ConditionName, reason: string, what?: string): void
  end (name: ConditionName, what?: string): void
}

/** For those who work on stores without a node around them, such as commands that only read. */
export const nobodyWatches: Health = { begin () {}, end () {} }

/** The table of docs/operations.md, one row a condition. */
export function conditionsMarkdown (): string {
  const rows = Object.entries(conditions).map(([name, { meaning, heals, stops, graceMs }]) =>
    `| \`${name}\` | ${meaning} | ${heals} | ${stops ? 'no' : 'yes'} | ${graceMs / 1_000} s |\n`)
  return '| Condition | Means | What ends it | Ready meanwhile | Told after |\n| --- | --- | --- | --- | --- |\n' +
    rows.join('')
}
