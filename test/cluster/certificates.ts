import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findExecutable, type Teardown } from './server-process.js'

const run = promisify(execFile)

/** Paths of PEM files, made for one test and gone with it. */
export interface TestCertificates {
  readonly ca: string
  /** For `localhost`, 127.0.0.1 and ::1; `serverChain` is the certificate and the key in one file. */
  readonly server: Issued
  readonly serverChain: string
  /** Of the client `ledgerline`; `encryptedKey` needs `keyPassword`. */
  readonly client: Issued
  readonly encryptedKey: string
  /** Another certificate authority, which nobody trusts. */
  readonly otherCa: string
  /** Another one of the same authority. */
  issue (name: string, subject: string, names: string): Promise<Issued>
}

export interface Issued { readonly cert: string, readonly key: string }

export const keyPassword = 'of the key alone'

export function opensslMissing (): string | undefined {
  return findExecutable('openssl') === undefined ? 'needs openssl: apt-get install openssl' : undefined
}

export async function makeCertificates (t: Teardown): Promise<TestCertificates> {
  const directory = await mkdtemp(join(tmpdir(), 'ledgerline-certificates-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const file = (name: string) => join(directory, name)
  const openssl = async (...args: string[]) => (await run('openssl', args, { cwd: directory })).stdout
  const authority = async (name: string) => {
    await openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
      '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.crt`)
    return file(`${name}.crt`)
  }
  const ca = await authority('ca')
  const issue = async (name: string, subject: string, names: string): Promise<Issued> => {
    await openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
      '-subj', `/CN=${subject}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    await writeFile(file(`${name}.ext`), `subjectAltName=${names}\n`)
    await openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial',
      '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.crt`)
    return { cert: file(`${name}.crt`), key: file(`${name}.key`) }
  }
  const server = await issue('server', 'localhost', 'DNS:localhost,IP:127.0.0.1,IP:::1')
  const client = await issue('client', 'ledgerline', 'DNS:ledgerline')
  await openssl('pkcs8', '-topk8', '-in', 'client.key', '-passout', `pass:${keyPassword}`, '-out', 'encrypted.key')
  const serverChain = file('server.pem')
  await writeFile(serverChain, await openssl('x509', '-in', 'server.crt') + await openssl('pkey', '-in', 'server.key'))
  return {
    ca, server, serverChain, client, encryptedKey: file('encrypted.key'), otherCa: await authority('other'), issue,
  }
}
