import { writeSync } from 'node:fs'
import { createClient, inFile } from '../../client/node.js'

/*
  An application with a storage, for tests that kill it. Sends numbers, on from the last that it ever began to send, and
  writes what happens to stdout, a JSON line each: { began }, { accepted }, { downlink, messageId }.
*/

const [endpoint, file, token, first] = process.argv.slice(2) as [string, string, string, string]

/** Synchronous: what was not written when the process is killed did not happen. */
function note (what: object): void {
  writeSync(1, `${JSON.stringify(what)}\n`)
}

const client = createClient({
  endpoints: [endpoint],
  getToken: () => token,
  deviceId: 'phone',
  storage: inFile(file),
  random: () => Math.random() / 20, // back at once, for a test that is short
})
client.on('accepted', ({ payload }) => note({ accepted: Number(Buffer.from(payload)) }))
client.on('downlink', async ({ seq, messageId }) => {
  note({ downlink: seq, messageId })
  await new Promise(resolve => setTimeout(resolve, 3 * Math.random()))
})
client.on('missed', ({ count }) => note({ missed: count }))
client.on('disconnected', ({ code, reason, willReconnect }) => { if (!willReconnect) note({ ended: code, reason }) })
client.connect()

for (let i = Number(first); ; i++) {
  note({ began: i })
  client.send(String(i)).then(() => note({ accepted: i }), err => note({ failed: i, code: err.code }))
  do await new Promise(resolve => setTimeout(resolve, 4 * Math.random()))
  while (client.unackedUplinks > 200)
}
