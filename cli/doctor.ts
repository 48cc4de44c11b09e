import type { Command } from 'commander'
import type { Finding } from '../gateway/doctor/finding.js'
import { readConfig } from '../gateway/read-config.js'
import { readEnvironment } from '../gateway/environment.js'
import { CommandFailed } from './failure.js'
import { print, printJson } from './print.js'

interface DoctorOptions {
  readonly json?: boolean
}

export function addDoctor (program: Command): void {
  program.command('doctor')
    .description('check whether a node can run here with this environment, and say what to change')
    .option('--json', 'print NDJSON, one finding a line')
    .action(doctor)
    .addHelpText('after', '\nReads the settings that "start" reads from the environment and .env, asks Kafka, Redis and the ' +
      'kernel, and changes nothing. Exit code 1 if a finding is fatal.')
}

async function doctor ({ json }: DoctorOptions): Promise<void> {
  const config = readConfig(readEnvironment())
  // Loaded here alone: no other command needs clients of Kafka and Redis.
  const { examine } = await import('../gateway/doctor/doctor.js')
  const findings = await examine(config)
  if (json) findings.forEach(printJson)
  else print(findings, false, describe)
  const fatal = findings.filter(({ verdict }) => verdict === 'fatal').length
  if (fatal > 0) throw new CommandFailed(`${fatal} of ${findings.length} findings ${fatal === 1 ? 'is' : 'are'} fatal`)
}

/** A line for what is good; for the others what is wanted, why, and what to type. */
function describe (findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ area, subject }) => area.length + subject.length + 1))
  return findings.map(({ area, subject, verdict, found, wanted, why, fix }) => {
    const line = `${verdict.padEnd(7)}  ${`${area} ${subject}`.padEnd(width)}  ${found}\n`
    return verdict === 'ok' ? line : `${line}${indent}want ${wanted}. ${why}\n${indent}${fix}\n`
  }).join('')
}

const indent = ' '.repeat(9)
