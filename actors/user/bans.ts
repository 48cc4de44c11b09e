import type { UserBanned } from '../../schemas/facts.js'

/** What keeps a user out, or one of his devices, or one of his tokens. */
export interface Ban {
  readonly banId: string
  /** Empty for any. */
  readonly deviceId: string
  /** `jti` of the tokens; empty for any. */
  readonly tokenId: string
  /** When it ends by itself, ms since 1970; 0 for never. */
  readonly untilMs: number
  /** What the client is told. */
  readonly reason: string
  /** Time of the entry that set it, ms since 1970. */
  readonly bannedAtMs: number
  /** Id of the API key that asked; empty for one of the environment. */
  readonly by: string
}

/** Bans that are kept of one user; what happens at the bound is in docs/limits.md. */
export const bansMax = 64

/** By id, the oldest first. */
export type Bans = Map<string, Ban>

export function isInForce ({ untilMs }: Ban, atMs: number): boolean { return untilMs === 0 || atMs < untilMs }

/** The ban that is on a device with a token at a time; the widest, where there are several. */
export function banOn (bans: Bans, deviceId: string, tokenId: string, atMs: number): Ban | undefined {
  let widest: Ban | undefined
  for (const ban of bans.values()) {
    if (!isInForce(ban, atMs) || !isOn(ban, deviceId, tokenId)) continue
    if (!widest || width(ban) > width(widest)) widest = ban
  }
  return widest
}

export function isOn (ban: Ban, deviceId: string, tokenId: string): boolean {
  return (ban.deviceId === '' || ban.deviceId === deviceId) && (ban.tokenId === '' || ban.tokenId === tokenId)
}

/**
 * Keeps a ban. Those that are over go with that, and past the bound the narrowest one goes: a token's before a
 * device's before the user's, and of these the one that would end first.
 */
export function keepBan (bans: Bans, { banId, deviceId, tokenId, untilMs, reason, by }: UserBanned, atMs: number): Ban {
  for (const ban of bans.values()) if (!isInForce(ban, atMs)) bans.delete(ban.banId)
  if (bans.size >= bansMax) bans.delete(leastOf(bans).banId)
  const ban = { banId, deviceId, tokenId, untilMs, reason, bannedAtMs: atMs, by }
  bans.set(banId, ban)
  return ban
}

function leastOf (bans: Bans): Ban {
  let least: Ban | undefined
  for (const ban of bans.values()) if (!least || isLess(ban, least)) least = ban
  return least!
}

function isLess (ban: Ban, other: Ban): boolean {
  const wider = width(ban) - width(other)
  return wider < 0 || (wider === 0 && endOf(ban) < endOf(other))
}

function width ({ deviceId, tokenId }: Ban): number { return tokenId !== '' ? 0 : deviceId !== '' ? 1 : 2 }

function endOf ({ untilMs }: Ban): number { return untilMs === 0 ? Infinity : untilMs }
