import { join } from 'node:path'
import { directoryOf, downloadOnce, isDownloaded, runMaven } from './download.js'
import { findExecutable, findPort, startProcess, type Teardown } from './server-process.js'

/** The release that the tests run on: of those for Java 17. `docker-compose.yml` names the same. */
export const registryVersion = '2.6.13.Final'

/** Apicurio Registry on loopback, which keeps its schemas in memory. */
export interface TestRegistry {
  /** Where its Confluent-compatible interface begins; paths such as `/subjects` come after it. */
  readonly url: string
}

const server = `apicurio-registry-${registryVersion}`

/** One line that says what to install; undefined where the registry can run. */
export function registryMissing (): string | undefined {
  if (findExecutable('java') === undefined) return 'needs Java 17 for a schema registry: apt-get install openjdk-17-jre-headless'
  if (!isDownloaded(server)) return 'needs a schema registry: node dist/test/cluster/servers.js install'
  return undefined
}

/** @throws when Java or Maven is missing, or Maven cannot reach its repository */
export async function installRegistry (): Promise<void> {
  await downloadOnce(server, async directory => {
    const artifact = `io.apicurio:apicurio-registry-app:${registryVersion}:tar.gz:all`
    await runMaven(directory, 'unpack', `-Dartifact=${artifact}`, `-DoutputDirectory=${directory}`)
  })
}

/** @throws when it does not serve within three minutes; the message has what it wrote last */
export async function startRegistry (t: Teardown): Promise<TestRegistry> {
  const port = await findPort()
  const registry = await startProcess('java', [
    '-Xmx400m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
    '-Dquarkus.http.host=127.0.0.1',
    `-Dquarkus.http.port=${port}`,
    '-jar', join(directoryOf(server), `apicurio-registry-app-${registryVersion}-runner.jar`),
  ], /Listening on:/)
  t.teardown(async () => await registry.end('SIGKILL'))
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`
  await answers(url)
  return { url }
}

/**
 * The first answers of a Java program take seconds on a busy machine, more than a node gives it. So it is asked once,
 * without a deadline, for all that a node asks of it.
 */
async function answers (url: string): Promise<void> {
  const subject = 'first.rejected-value'
  const body = JSON.stringify({ schema: JSON.stringify({ type: 'record', name: 'First', fields: [] }) })
  const headers = { 'content-type': 'application/vnd.schemaregistry.v1+json' }
  for (const path of [
    `/subjects/${subject}`,
    `/compatibility/subjects/${subject}/versions/latest?verbose=true`,
    `/subjects/${subject}/versions`,
  ]) await (await fetch(url + path, { method: 'POST', headers, body })).text()
}
