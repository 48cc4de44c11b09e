import type { WantedTopic } from './topics.js'

/** What a topic must have, and has not. */
export interface SettingTrouble {
  /** `name=value`, as it is and as it must be. */
  readonly found: string
  readonly wanted: string
  readonly why: string
  /** What mends it. */
  readonly fix: string
  /** Nothing is safe in the topic as it is. */
  readonly fatal: boolean
}

export const policySetting = 'cleanup.policy'
export const retentionSettings = ['retention.ms', 'retention.bytes'] as const

/** The command that changes a setting of a topic. */
export function alter (topic: string, setting: string): string {
  return `kafka-configs --alter --entity-type topics --entity-name ${topic} --add-config ${setting}`
}

/**
 * What is wrong with the settings by which brokers delete records.
 *
 * @param settings of the topic; those that may not be seen are left out
 */
export function deletionTroubles (
  { topic, config, keepsAll }: Pick<WantedTopic, 'topic' | 'config' | 'keepsAll'>, settings: ReadonlyMap<string, string>
): SettingTrouble[] {
  const troubles: SettingTrouble[] = []
  const wantedPolicy = config?.[policySetting] ?? 'delete'
  const policy = settings.get(policySetting)
  const compacts = wantedPolicy === 'compact'
  if (policy !== undefined && (compacts ? policy !== wantedPolicy : policy.includes('compact'))) {
    const wanted = `${policySetting}=${wantedPolicy}`
    troubles.push({
      found: `${policySetting}=${policy}`,
      wanted,
      why: compacts
        ? 'The states of users who were quiet for long would be deleted.'
        : 'Compaction keeps one record of each key, and loses the others.',
      fix: alter(topic, wanted),
      fatal: true,
    })
  }
  const bounds = keepsAll ? retentionSettings.filter(name => Number(settings.get(name) ?? -1) >= 0) : []
  if (bounds.length > 0) {
    const wanted = bounds.map(name => `${name}=-1`).join(',')
    troubles.push({
      found: bounds.map(name => `${name}=${settings.get(name)}`).join(', '),
      wanted,
      why: 'The brokers delete what saved states and tables may have yet to take in; what is old the nodes delete themselves.',
      fix: alter(topic, wanted),
      fatal: false,
    })
  }
  return troubles
}

/** In words. */
export function tellTrouble (topic: string, { found, why, fix }: SettingTrouble): string {
  return `topic ${topic} has ${found}. ${why} Type: ${fix}`
}
