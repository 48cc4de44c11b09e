import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { directoryOf, downloadOnce } from './download.js'

/** A Python with packages: of an environment of its own, or any other that has them. */
interface PythonEnvironment {
  readonly name: string
  readonly packages: readonly string[]
  /** A program that fails where a package is missing or too old. */
  readonly wanted: string
}

/** Reads Kafka and Avro. */
const consumers: PythonEnvironment = {
  name: 'python-kafka-3.0.12',
  packages: ['kafka-python==3.0.12', 'fastavro==1.13.1'],
  wanted: 'import fastavro, kafka; assert tuple(map(int, kafka.__version__.split(".")[:2])) >= (2, 2)',
}
/** Reads Parquet, as docs/analytics.md does. */
const analytics: PythonEnvironment = {
  name: 'python-duckdb-2.0.0',
  packages: ['duckdb==2.0.0', 'pandas==3.1.1', 'pyarrow==26.0.1'],
  wanted: 'import duckdb, pandas, pyarrow; assert int(duckdb.__version__.split(".")[0]) >= 1',
}
const run = promisify(execFile)

export const findPython = (): string | undefined => find(consumers)
export const findAnalyticsPython = (): string | undefined => find(analytics)

/** One line that says what to install; undefined where there is one. */
export const pythonMissing = (): string | undefined => missing(consumers)
export const analyticsPythonMissing = (): string | undefined => missing(analytics)

/** @throws where Python has no venv, or its packages can't be had */
export async function installPython (): Promise<void> {
  await install(consumers)
  await install(analytics)
}

function find ({ name, wanted }: PythonEnvironment): string | undefined {
  const own = join(directoryOf(name), 'bin', 'python3')
  return [own, 'python3', '/usr/bin/python3'].find(command =>
    (command !== own || existsSync(own)) && spawnSync(command, ['-c', wanted]).status === 0)
}

function missing (environment: PythonEnvironment): string | undefined {
  if (find(environment)) return undefined
  return `needs Python with ${environment.packages.join(' and ')}: node dist/test/cluster/servers.js install`
}

async function install (environment: PythonEnvironment): Promise<void> {
  if (find(environment)) return
  const { name, packages } = environment
  await downloadOnce(name, async directory => {
    await run('python3', ['-m', 'venv', directory])
    await run(join(directory, 'bin', 'python3'), ['-m', 'pip', 'install', '--quiet', ...packages])
  })
}
