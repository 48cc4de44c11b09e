import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Ajv } from 'ajv'
import { appNamePattern, appNameWanted } from '../../schemas/apps.js'
import { idBytesMax, serviceBytesMax } from '../../schemas/text.js'
import { jsonSetting } from '../json-setting.js'
import { wordsFor } from '../keys/key-file.js'
import { ConfigError } from '../setting.js'
import { webhookStreams } from './events.js'
import { secretOf, secretPattern, secretWanted } from './signature.js'

/** Where records of some streams are posted to (docs/webhooks.md). */
export interface Webhook {
  readonly name: string
  readonly url: URL
  /** Each request is signed with every one of them. */
  readonly secrets: readonly Buffer[]
  readonly streams: readonly string[]
  /** Whose records it gets; empty for the default app. */
  readonly app: string
  /** Undefined for all. */
  readonly services: ReadonlySet<string> | undefined
  readonly users: ReadonlySet<string> | undefined
  /** Blocks from before then are passed over, ms since 1970; 0 for none. */
  readonly sinceMs: number
  /** Records of one request; with 1 the body is one object, else an array. */
  readonly batch: number
  /** How long a batch waits for more records. */
  readonly lingerMs: number
  readonly timeoutMs: number
  /** Requests at the same time, of one node. */
  readonly concurrency: number
  /** From the first attempt on: a record that failed for so long is given up. */
  readonly giveUpAfterMs: number
  /** Whether an answer's `downlinks` are sent. */
  readonly reply: boolean
  /** Certificates of the authorities that its server's one may be of, PEM; undefined for those of Node. */
  readonly ca: string | undefined
  /** All of it as it was given, for telling whether it has changed. */
  readonly given: string
}

export const webhooksMax = 100
/** As old and new ones may overlap while they are exchanged. */
const secretsMax = 4
const filterMax = 1_000

const variable = 'LEDGERLINE_WEBHOOKS'

const secret = {
  type: 'string',
  pattern: secretPattern,
  description: secretWanted,
}

/** JSON Schema of the list; docs/webhooks.schema.json is a copy. */
export const webhooksSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Webhooks of a Ledgerline gateway (LEDGERLINE_WEBHOOKS)',
  type: 'array',
  maxItems: webhooksMax,
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['name', 'url', 'secret', 'streams'],
    properties: {
      name: {
        type: 'string', pattern: '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$', description: 'its place in the streams is kept under this name; each once',
      },
      url: {
        type: 'string',
        maxLength: 2_048,
        pattern: '^https?://[^\\s/?#@]+([/?][^\\s#]*)?$',
        description: 'where requests go, and nowhere else; without user and password',
      },
      secret: {
        anyOf: [secret, { type: 'array', minItems: 1, maxItems: secretsMax, uniqueItems: true, items: secret }],
        description: 'signs the requests; several: each request has a signature by each',
      },
      streams: {
        type: 'array', minItems: 1, uniqueItems: true, items: { type: 'string', enum: [...webhookStreams.keys()] },
      },
      app: { type: 'string', pattern: appNamePattern, description: `whose records it gets, of LEDGERLINE_APPS; absent: of the default app. ${appNameWanted}` },
      services: {
        type: 'array',
        minItems: 1,
        maxItems: filterMax,
        uniqueItems: true,
        items: { type: 'string', maxLength: serviceBytesMax },
        description: 'only records for these, of streams whose records have a service; absent: for all',
      },
      users: {
        type: 'array',
        minItems: 1,
        maxItems: filterMax,
        uniqueItems: true,
        items: { type: 'string', minLength: 1, maxLength: idBytesMax },
        description: 'only records of these users, of streams of users; absent: of all',
      },
      since: {
        type: 'string',
        format: 'moment',
        description: 'what was stored before then is passed over; absent: all that the streams still keep is sent',
      },
      batch: { type: 'integer', minimum: 1, maximum: 1_000, description: 'records of one request; with 1 the body is an object, else an array; absent: 1' },
      lingerMs: { type: 'integer', minimum: 0, maximum: 60_000, description: 'how long a batch waits for more records; absent: 0' },
      timeoutMs: { type: 'integer', minimum: 100, maximum: 120_000, description: 'for the whole answer; absent: 15000' },
      concurrency: { type: 'integer', minimum: 1, maximum: 256, description: 'requests at the same time, of one node; absent: 16' },
      giveUpAfterMs: {
        type: 'integer',
        minimum: 1_000,
        maximum: 604_800_000,
        description: 'after the first attempt: what still fails then goes to the stream undelivered; absent: 86400000, a day',
      },
      reply: { type: 'boolean', description: 'downlinks in an answer are sent; absent: false' },
      caFile: { type: 'string', minLength: 1, description: 'certificates of authorities, PEM, in place of those that Node trusts' },
    },
  },
}

interface GivenWebhook {
  readonly name: string
  readonly url: string
  readonly secret: string | readonly string[]
  readonly streams: readonly string[]
  readonly app?: string
  readonly services?: readonly string[]
  readonly users?: readonly string[]
  readonly since?: string
  readonly batch?: number
  readonly lingerMs?: number
  readonly timeoutMs?: number
  readonly concurrency?: number
  readonly giveUpAfterMs?: number
  readonly reply?: boolean
  readonly caFile?: string
}

const isList = new Ajv({
  verbose: true,
  allowUnionTypes: true,
  formats: {
    moment: text => /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text)),
  },
}).compile<readonly GivenWebhook[]>(webhooksSchema)

/**
 * @param given the JSON itself, or the path of its file; undefined for none
 * @param hasApp whether there is such an app
 * @throws ConfigError that names the webhook and the field, and what is wanted; what is there is not shown, for it may
 *   be a secret
 */
export function webhooksIn (given: string | undefined, hasApp: (app: string) => boolean): readonly Webhook[] {
  if (given === undefined) return []
  const list = jsonSetting(variable, given, 'webhooks')
  if (!isList(list)) throw new ConfigError(`${variable}: ${wordsFor(isList.errors![0]!)}`)
  const names = list.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new ConfigError(`${variable}: got the webhook ${twice} twice, want each once`)
  return list.map((webhook, i) => webhookOf(webhook, `${variable}[${i}]`, hasApp))
}

function webhookOf (given: GivenWebhook, at: string, hasApp: (app: string) => boolean): Webhook {
  const { name, url, app = '', streams, services, users, since, caFile } = given
  if (!URL.canParse(url)) throw new ConfigError(`${at}.url: want a URL that starts with http:// or https://`)
  if (!hasApp(app)) throw new ConfigError(`${at}.app: got ${JSON.stringify(app)}, want an app of LEDGERLINE_APPS`)
  const foreign = app === '' ? undefined : streams.find(stream => !webhookStreams.get(stream)!.appOf)
  if (foreign !== undefined) {
    throw new ConfigError(`${at}.streams: got ${foreign}, which is of no app, and want streams of the app ${app}`)
  }
  const ca = caFile === undefined ? undefined : caIn(caFile, at)
  return {
    name,
    url: new URL(url),
    secrets: [given.secret].flat().map(secretOf),
    streams,
    app,
    services: services && new Set(services),
    users: users && new Set(users),
    sinceMs: since === undefined ? 0 : Date.parse(since),
    batch: given.batch ?? 1,
    lingerMs: given.lingerMs ?? 0,
    timeoutMs: given.timeoutMs ?? 15_000,
    concurrency: given.concurrency ?? 16,
    giveUpAfterMs: given.giveUpAfterMs ?? 86_400_000,
    reply: given.reply ?? false,
    ca,
    given: JSON.stringify([given, ca]),
  }
}

function caIn (caFile: string, at: string): string {
  try {
    return readFileSync(resolve(caFile), 'utf8')
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    const want = `a file that can be read (${code})`
    throw new ConfigError(`${at}.caFile: got ${JSON.stringify(caFile)}, want ${want}`, { cause: err })
  }
}
