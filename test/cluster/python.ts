import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { directoryOf, downloadOnce } from './download.js'

const environment = 'python-kafka-3.0.12'
const packages = ['kafka-python==3.0.12', 'fastavro==1.13.1']
const wanted = 'import fastavro, kafka; assert tuple(map(int, kafka.__version__.split(".")[:2])) >= (2, 2)'
const run = promisify(execFile)

/** A Python that reads Kafka and Avro: of an environment of its own, or any other that has the packages. */
export function findPython (): string | undefined {
  const own = join(directoryOf(environment), 'bin', 'python3')
  return [own, 'python3', '/usr/bin/python3'].find(command =>
    (command !== own || existsSync(own)) && spawnSync(command, ['-c', wanted]).status === 0)
}

/** One line that says what to install; undefined where there is one. */
export function pythonMissing (): string | undefined {
  return findPython() ? undefined : `needs Python with ${packages.join(' and ')}: node dist/test/cluster/servers.js install`
}

/** @throws where Python has no venv, or its packages can't be had */
export async function installPython (): Promise<void> {
  if (findPython()) return
  await downloadOnce(environment, async directory => {
    await run('python3', ['-m', 'venv', directory])
    await run(join(directory, 'bin', 'python3'), ['-m', 'pip', 'install', '--quiet', ...packages])
  })
}
