import type { Command } from 'commander'
import { SignJWT } from 'jose'
import { appsIn } from '../gateway/apps.js'
import { settings } from '../gateway/config.js'
import { readEnvironment } from '../gateway/environment.js'
import type { TokenIssuer } from '../gateway/issuers.js'
import { type Environment, readSetting } from '../gateway/setting.js'
import type { RoomRight } from '../schemas/room-rights.js'
import { parseDurationMs } from './duration.js'
import { CommandFailed } from './failure.js'
import { ownCommand } from './self.js'
import { dataOption, findJwtSecret } from './gateway.js'
import type { GatewayOptions } from './gateway.js'
import { parseRooms } from './room-patterns.js'
import { appOption, type AppOptions } from './user-id.js'

interface TokenOptions extends GatewayOptions, AppOptions {
  readonly device?: string
  readonly ttl: number
  readonly rooms?: Readonly<Record<string, RoomRight>>
  readonly json?: boolean
}

const ttlDefaultMs = 30 * 86_400_000

export function addToken (program: Command): void {
  program.command('token')
    .description('make a token with which a client connects as USER')
    .argument('<user>', 'user id')
    .option('--device <id>', 'good for this device only')
    .option('--ttl <duration>', 'how long it is good, default 30d', parseDurationMs, ttlDefaultMs)
    .option('--rooms <patterns>', 'rooms that it is good for, as "chat:*=rw,news=r" or JSON', parseRooms)
    .addOption(appOption())
    .option('--json', 'print JSON')
    .addOption(dataOption())
    .action(async (userId: string, options: TokenOptions) => {
      const { token, expiresAtMs } = await makeToken(userId, options)
      const { app, device: deviceId, json } = options
      process.stdout.write(json ? `${JSON.stringify({ token, app, userId, deviceId, expiresAtMs })}\n` : `${token}\n`)
    })
}

/** @throws CommandFailed where no secret is at hand to sign it with */
export async function makeToken (
  userId: string, { device, rooms, ttl = ttlDefaultMs, ...options }: Partial<TokenOptions>
) {
  const env = readEnvironment()
  const { secret, userClaim, names: [issuer], audiences: [audience] } = options.app === undefined
    ? await ownIssuer(options, env)
    : issuerOfApp(options.app, env)
  const expiresAtS = Math.ceil((Date.now() + ttl) / 1000)
  const claims = { ...(device === undefined ? {} : { dev: device }), ...(rooms === undefined ? {} : { rooms }) }
  const jwt = new SignJWT({ [userClaim]: userId, ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuedAt()
    .setExpirationTime(expiresAtS)
  if (issuer !== undefined) jwt.setIssuer(issuer)
  if (audience !== undefined) jwt.setAudience(audience)
  return { token: await jwt.sign(Buffer.from(secret)), expiresAtMs: expiresAtS * 1000 }
}

type Signer = Pick<TokenIssuer, 'names' | 'audiences' | 'userClaim'> & { readonly secret: string }

async function ownIssuer (options: GatewayOptions, env: Environment): Promise<Signer> {
  for (const keys of [settings.jwksUrl, settings.jwtIssuers]) {
    if (readSetting(keys, env) === undefined) continue
    throw new CommandFailed(`${keys.variable} is set: tokens come from whoever holds those keys`)
  }
  const secret = await findJwtSecret(options, env)
  if (secret === undefined) {
    throw new CommandFailed(
      `no secret to sign with: start a gateway (${ownCommand()} start), then give its --data or LEDGERLINE_JWT_SECRET`)
  }
  return {
    secret,
    names: readSetting(settings.jwtIssuer, env)!,
    audiences: readSetting(settings.jwtAudience, env)!,
    userClaim: readSetting(settings.jwtUserClaim, env) ?? 'sub',
  }
}

function issuerOfApp (name: string, env: Environment): Signer {
  const app = appsIn(readSetting(settings.apps, env), [], true).find(app => app.name === name)
  if (!app) throw new CommandFailed(`${settings.apps.variable} has no app ${name}`, { exitCode: 2 })
  for (const { secret, ...issuer } of app.issuers) if (secret !== undefined) return { ...issuer, secret }
  throw new CommandFailed(`no issuer of ${name} has a secret: its tokens come from whoever holds its keys`)
}
