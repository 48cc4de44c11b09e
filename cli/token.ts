import type { Command } from 'commander'
import { SignJWT } from 'jose'
import { readEnvironment, settings } from '../gateway/config.js'
import { readSetting } from '../gateway/setting.js'
import { parseDurationMs } from './duration.js'
import { CommandFailed } from './failure.js'
import { ownCommand } from './self.js'
import { dataOption, findJwtSecret } from './gateway.js'
import type { GatewayOptions } from './gateway.js'

interface TokenOptions extends GatewayOptions {
  readonly device?: string
  readonly ttl: number
  readonly json?: boolean
}

const ttlDefaultMs = 30 * 86_400_000

export function addToken (program: Command): void {
  program.command('token')
    .description('make a token with which a client connects as USER')
    .argument('<user>', 'user id')
    .option('--device <id>', 'good for this device only')
    .option('--ttl <duration>', 'how long it is good, default 30d', parseDurationMs, ttlDefaultMs)
    .option('--json', 'print JSON')
    .addOption(dataOption())
    .action(async (userId: string, options: TokenOptions) => {
      const { token, expiresAtMs } = await makeToken(userId, options)
      const { device: deviceId, json } = options
      process.stdout.write(json ? `${JSON.stringify({ token, userId, deviceId, expiresAtMs })}\n` : `${token}\n`)
    })
}

/** @throws CommandFailed where no secret is at hand to sign it with */
export async function makeToken (userId: string, { device, ttl = ttlDefaultMs, ...options }: Partial<TokenOptions>) {
  const env = readEnvironment()
  for (const keys of [settings.jwksUrl, settings.jwtIssuers]) {
    if (readSetting(keys, env) === undefined) continue
    throw new CommandFailed(`${keys.variable} is set: tokens come from whoever holds those keys`)
  }
  const secret = await findJwtSecret(options, env)
  if (secret === undefined) {
    throw new CommandFailed(
      `no secret to sign with: start a gateway (${ownCommand()} start), then give its --data or LEDGERLINE_JWT_SECRET`)
  }
  const expiresAtS = Math.ceil((Date.now() + ttl) / 1000)
  const userClaim = readSetting(settings.jwtUserClaim, env) ?? 'sub'
  const jwt = new SignJWT({ [userClaim]: userId, ...(device === undefined ? {} : { dev: device }) })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuedAt()
    .setExpirationTime(expiresAtS)
  const [issuer] = readSetting(settings.jwtIssuer, env)!
  if (issuer !== undefined) jwt.setIssuer(issuer)
  const [audience] = readSetting(settings.jwtAudience, env)!
  if (audience !== undefined) jwt.setAudience(audience)
  return { token: await jwt.sign(Buffer.from(secret)), expiresAtMs: expiresAtS * 1000 }
}
