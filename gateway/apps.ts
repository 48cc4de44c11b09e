import { resolve } from 'node:path'
import { Ajv } from 'ajv'
import { appNamePattern, appNameWanted } from '../schemas/apps.js'
import { loginPolicies } from '../schemas/fact-codec.js'
import type { LoginPolicy } from '../schemas/facts.js'
import { issuersMax, issuersOf, type TokenIssuer } from './issuers.js'
import { jsonIn, jsonSetting } from './json-setting.js'
import { wordsFor } from './keys/key-file.js'
import type { NamedFile } from './keys/watched-file.js'
import { ConfigError } from './setting.js'

/** An app beside the default one: its own users, and who may do what with them (docs/operations.md, Apps). */
export interface App {
  readonly name: string
  /** Whose tokens are of its users. */
  readonly issuers: readonly TokenIssuer[]
  /** File of its API keys; undefined for none. */
  readonly apiKeysFile: string | undefined
  readonly quotas: AppQuotas
  /** Undefined where it has none of its own. */
  readonly loginPolicy: LoginPolicy | undefined
}

/** Each of one node; undefined for no bound of the app's own. */
export interface AppQuotas {
  /** Over HTTP, of all of its API keys. */
  readonly requestsPerSecond?: number
  /** Users that its pushes over HTTP name. */
  readonly recipientsPerSecond?: number
  readonly connections?: number
  /** Bytes of unacked downlinks of one session, in place of `LEDGERLINE_OUTBOX_BYTES_MAX`. */
  readonly outboxBytes?: number
}

export const appsMax = 100

export const appsVariable = 'LEDGERLINE_APPS'
const variable = appsVariable

const name = { type: 'string', pattern: '^\\S{1,256}$' }
const nameOrNames = { anyOf: [name, { type: 'array', minItems: 1, items: name }] }

const issuerSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['issuer'],
  oneOf: [{ required: ['secret'] }, { required: ['jwksUrl'] }],
  properties: {
    issuer: { ...nameOrNames, description: 'what iss may be; each name of one app alone, and not of the default one' },
    secret: { type: 'string', minLength: 32, description: 'HS256; of this app alone' },
    jwksUrl: { type: 'string', pattern: '^https?://[^\\s/?#@]+([/?#]\\S*)?$', description: 'keys: RS256, ES256 or EdDSA' },
    audience: { ...nameOrNames, description: 'aud must have one of them; absent: any' },
    userClaim: { ...name, description: 'the claim that is the user id; absent: sub' },
  },
}

/** JSON Schema of the list; docs/apps.schema.json is a copy. */
export const appsSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Apps of a Ledgerline gateway (LEDGERLINE_APPS)',
  type: 'array',
  minItems: 1,
  maxItems: appsMax,
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['name'],
    properties: {
      name: { type: 'string', pattern: appNamePattern, description: `${appNameWanted}; each once` },
      issuers: {
        type: 'array',
        minItems: 1,
        maxItems: issuersMax,
        items: issuerSchema,
        description: 'absent: LEDGERLINE_AUTH_URL says who its users are',
      },
      apiKeysFile: {
        type: 'string', minLength: 1, description: 'file of its API keys, as `ledgerline keys` makes it; absent: it has none',
      },
      quotas: {
        type: 'object',
        additionalProperties: false,
        description: 'each of one node; absent: no bound of the app\'s own',
        properties: {
          requestsPerSecond: { type: 'integer', minimum: 1, maximum: 1_000_000, description: 'of all its API keys' },
          recipientsPerSecond: {
            type: 'integer', minimum: 1, maximum: 1_000_000, description: 'users that its pushes over HTTP name',
          },
          connections: { type: 'integer', minimum: 1, maximum: 1_000_000 },
          outboxBytes: {
            type: 'integer',
            minimum: 1_048_576,
            maximum: 1_073_741_824,
            description: 'of unacked downlinks of one session; absent: LEDGERLINE_OUTBOX_BYTES_MAX',
          },
        },
      },
      loginPolicy: { type: 'string', enum: loginPolicies, description: 'absent: LEDGERLINE_LOGIN_POLICY' },
    },
  },
}

/** An app as the list has it. */
interface GivenApp {
  readonly name: string
  readonly issuers?: readonly unknown[]
  readonly apiKeysFile?: string
  readonly quotas?: AppQuotas
  readonly loginPolicy?: LoginPolicy
}

const isList = new Ajv({ verbose: true }).compile<readonly GivenApp[]>(appsSchema)

/**
 * @param given the JSON itself, or the path of its file; undefined for none
 * @param ours issuers of the default app
 * @param isAsked business is asked about tokens, so an app may have no issuer
 * @throws ConfigError that names the app and the field, and what is wanted; what is there is not shown, for it may be a
 *   secret
 */
export function appsIn (
  given: string | undefined, ours: readonly TokenIssuer[], isAsked: boolean
): readonly App[] {
  return given === undefined ? [] : appsOf(jsonSetting(variable, given, 'apps'), ours, isAsked)
}

/**
 * As `appsIn`, of the text of a file.
 *
 * @throws ConfigError as `appsIn` does
 */
export function appsInText (text: string, ours: readonly TokenIssuer[], isAsked: boolean): readonly App[] {
  return appsOf(jsonIn(variable, text, 'apps'), ours, isAsked)
}

function appsOf (list: unknown, ours: readonly TokenIssuer[], isAsked: boolean): readonly App[] {
  if (!isList(list)) throw new ConfigError(`${variable}: ${wordsFor(isList.errors![0]!)}`)
  const apps = list.map((app, i): App => ({
    name: app.name,
    issuers: app.issuers === undefined && isAsked ? [] : issuersOf(app.issuers, `${variable}[${i}].issuers`),
    apiKeysFile: app.apiKeysFile === undefined ? undefined : resolve(app.apiKeysFile),
    quotas: app.quotas ?? {},
    loginPolicy: app.loginPolicy,
  }))
  eachOnce('app', apps.map(({ name }) => name))
  const issuers = [...ours, ...apps.flatMap(({ issuers }) => issuers)]
  eachOnce('issuer', issuers.flatMap(({ names }) => names))
  refuseSharedSecrets(apps, ours)
  eachOnce('file of API keys', apps.flatMap(({ apiKeysFile }) => apiKeysFile ?? []))
  return apps
}

function eachOnce (what: string, names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice === undefined) return
  throw new ConfigError(`${variable}: got the ${what} ${JSON.stringify(twice)} twice, want each once, in one app`)
}

/** Whoever has a secret signs for whom he likes, so it is no secret between two apps. */
function refuseSharedSecrets (apps: readonly App[], ours: readonly TokenIssuer[]): void {
  const owners = new Map(ours.flatMap(({ secret }) => secret === undefined ? [] : [[secret, 'the default app']]))
  for (const { name, issuers } of apps) {
    for (const { secret } of issuers) {
      if (secret === undefined) continue
      const owner = owners.get(secret)
      if (owner !== undefined && owner !== name) {
        throw new ConfigError(`${variable}: ${name} has a secret that ${owner} has, too; want one of its own`)
      }
      owners.set(secret, name)
    }
  }
}

/** Told of the apps that there were, once others are in their place. */
export type AppsChanged = (before: ReadonlyMap<string, App>) => void

/** The apps of a node, by name. Those of a file may be replaced by others, but not by none. */
export class Apps {
  #byName: ReadonlyMap<string, App>
  readonly #told: AppsChanged[] = []

  constructor (all: readonly App[] = []) {
    this.#byName = mapOf(all)
  }

  get all (): readonly App[] { return [...this.#byName.values()] }

  /** There is another one than the default one. */
  get areMany (): boolean { return this.#byName.size > 0 }

  /** @param app empty for the default one, which is always there */
  has (app: string): boolean { return app === '' || this.#byName.has(app) }

  /** Undefined for the default one, and for one that this node does not know. */
  get (app: string): App | undefined { return this.#byName.get(app) }

  /** @param otherwise what is set for all */
  outboxBytesMax (app: string, otherwise: number): number { return this.get(app)?.quotas.outboxBytes ?? otherwise }

  /** @param ours of the default app */
  keyFiles (ours: string | undefined): NamedFile[] {
    return [...ours === undefined ? [] : [{ app: '', path: ours }], ...keyFilesOf(this.all)]
  }

  /** Whoever goes by them is told of each `replace`, in the order of asking. */
  onChange (told: AppsChanged): void { this.#told.push(told) }

  /** @throws what the first one throws that is told; the others have been told, too, for no later change is this one */
  replace (all: readonly App[]): void {
    const before = this.#byName
    this.#byName = mapOf(all)
    const errors: unknown[] = []
    for (const told of this.#told) {
      try {
        told(before)
      } catch (err) {
        errors.push(err)
      }
    }
    if (errors.length > 0) throw errors[0]
  }
}

export function keyFilesOf (apps: readonly App[]): NamedFile[] {
  return apps.flatMap(({ name: app, apiKeysFile: path }) => path === undefined ? [] : [{ app, path }])
}

function mapOf (apps: readonly App[]): ReadonlyMap<string, App> { return new Map(apps.map(app => [app.name, app])) }
