import { type Config, settings } from './config.js'
import { configVariable } from './environment.js'
import type { Setting } from './setting.js'

/** Each section of the page begins with this setting and ends before that of the next one. */
const sections: ReadonlyArray<readonly [first: keyof Config, title: string]> = [
  ['dataDir', 'The process and its ports'],
  ['tlsCert', 'TLS, and proxies in front'],
  ['nodeId', 'The node in its cluster'],
  ['allowedOrigins', 'Who may connect, and who may ask'],
  ['heartbeatMs', 'A connection'],
  ['streamsOff', 'Streams for business services'],
  ['connectionsMax', 'Bounds of a node'],
  ['retentionMs', 'The embedded log'],
  ['kafkaBrokers', 'Kafka'],
  ['redisUrl', 'Redis'],
  ['schemaRegistryUrl', 'Schema registry'],
  ['topicPrefix', 'Topics, leases, and how a node stops'],
  ['otlpEndpoint', 'Traces'],
]

const introduction = `# Configuration

Every setting of a node, for whoever runs one. \`ledgerline config docs\` prints this page; it is made from the table
that a start reads (\`gateway/config.ts\`). [Operations](operations.md) says when to change what.

A setting is a variable, and an option of \`ledgerline start\` by the same name: \`LEDGERLINE_HTTP_PORT\` is
\`--http-port\`, \`KAFKA_BROKERS\` is \`--kafka-brokers\`. The first of these that has it counts:

1. the option,
2. the environment,
3. the file \`.env\` in the working directory,
4. the JSON file that \`${configVariable}\` names, an object of the same variables:
   \`{ "LEDGERLINE_HTTP_PORT": 8080, "KAFKA_BROKERS": ["a:9092", "b:9092"] }\`. A list of texts stands for what commas
   separate, a list of objects for JSON,
5. the default.

White space at both ends of a value is not part of it, and an empty value counts as not set. A variable that begins with
\`LEDGERLINE_\` and is none of these is refused, for it would do nothing; so is one that is nearly one of \`KAFKA_…\`,
\`REDIS_…\` or \`SCHEMA_REGISTRY_…\`. In the JSON file every name must be one of these. Other commands read the same
files; they find the gateway by \`LEDGERLINE_URL\`.

| Command | Does |
| --- | --- |
| \`ledgerline config check\` | says what is wrong with the settings, a fault a line; exit code 2 if there is one |
| \`ledgerline config show\` | prints each value that counts and where it is from; \`--changed\`: without defaults |
| \`ledgerline config docs\` | prints this page |

\`check\` and \`show\` take the options of \`start\`, and \`--json\` for a line of JSON each. Secrets are not shown, nor
logins and queries of URLs.
\`check\` reads the files that settings name, and asks neither Kafka nor Redis: \`ledgerline doctor\` does.
Hosts are looked up at the start alone, which finds out then whether ports are free, too: both are the machine's.
`

/** The page docs/configuration.md. */
export function configurationPage (): string {
  const keys = Object.keys(settings) as Array<keyof Config>
  const starts = sections.map(([first]) => keys.indexOf(first))
  const pages = sections.map(([, title], i) => {
    const rows = keys.slice(starts[i], starts[i + 1]).map(key => rowOf(settings[key]))
    return `## ${title}\n\n| Variable | Default | What it is | What it may be |\n| --- | --- | --- | --- |\n${rows.join('')}`
  })
  return [introduction, ...pages].join('\n')
}

function rowOf ({ variable, fallback, fallbackIs, help, want, secret }: Setting): string {
  const standard = fallbackIs ?? (fallback ? `\`${fallback}\`` : 'none')
  const cells = [`\`${variable}\``, standard, secret ? `${help}; secret` : help, want]
  return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
}
