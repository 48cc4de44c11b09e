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

For operators: every setting of a node. [Operations](operations.md) says when to change what. \`ledgerline config docs\`
prints this page from the same table that a start reads (\`gateway/config.ts\`).

A setting is an environment variable, and an option of \`ledgerline start\` with the same name:
\`LEDGERLINE_HTTP_PORT\` is \`--http-port\`, \`KAFKA_BROKERS\` is \`--kafka-brokers\`. If it is given in several
places, the first of these counts:

1. the option,
2. the environment,
3. the file \`.env\` in the working directory,
4. the JSON file that \`${configVariable}\` names, an object of the same variables:
   \`{ "LEDGERLINE_HTTP_PORT": 8080, "KAFKA_BROKERS": ["a:9092", "b:9092"] }\`. Write a list of texts instead of a
   comma-separated value, and a list of objects instead of JSON,
5. the default.

White space at both ends of a value is ignored, and an empty value counts as not set. A node does not start with an
unknown variable that begins with \`LEDGERLINE_\`, or that is nearly one of \`KAFKA_…\`, \`REDIS_…\` or
\`SCHEMA_REGISTRY_…\`: a misspelt setting would silently do nothing. In the JSON file every name must be one of
these. Other commands read the same files; they find the gateway by \`LEDGERLINE_URL\`.

| Command | Does |
| --- | --- |
| \`ledgerline config check\` | names each fault of the settings, one a line; exit code 2 if there is one |
| \`ledgerline config show\` | prints each value and where it comes from; \`--changed\`: without defaults |
| \`ledgerline config docs\` | prints this page |

\`check\` and \`show\` take the options of \`start\`, and \`--json\` for one line of JSON each. They show no secrets,
or logins and queries of URLs. \`check\` reads the files that settings name, but asks neither Kafka nor Redis:
\`ledgerline doctor\` does. Only a start looks up hosts and tries whether ports are free.
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
