import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import avsc from 'avsc'

const run = promisify(execFile)
const headerBytes = 10

export interface Heard { readonly key: string, readonly messageId: string, readonly record: any }

/** What a topic holds, repeats and all, as kcat prints it and any Avro reader decodes it. */
export async function heard (brokers: string, prefix: string, stream: string): Promise<Heard[]> {
  const type = avsc.Type.forSchema(JSON.parse(readFileSync(`schemas/streams/${stream}.avsc`, 'utf8')))
  const args = ['-C', '-b', brokers, '-t', `${prefix}.${stream}`, '-o', 'beginning', '-e', '-q', '-f', '%k\\n%h\\n%S\\n%s\\n']
  const { stdout } = await run('kcat', args, { encoding: 'buffer', maxBuffer: 64 << 20 })
  const found: Heard[] = []
  let at = 0
  const line = () => {
    const end = stdout.indexOf('\n', at)
    const text = stdout.toString('utf8', at, end)
    at = end + 1
    return text
  }
  while (at < stdout.length) {
    const key = line()
    const headers = line()
    const bytes = Number(line())
    const record = type.fromBuffer(stdout.subarray(at + headerBytes, at + bytes))
    at += bytes + 1
    found.push({ key, messageId: /message-id=([^,]*)/.exec(headers)![1]!, record: { ...record } })
  }
  return found
}
