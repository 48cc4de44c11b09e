import { WebSocket } from 'ws'

/*
  Runs the bundle for browsers where little is there: `phone` is React Native with an old Hermes, `page` a page without
  a secure context. Says what happens on stdout.
*/

const [kind, bundle, endpoint] = process.argv.slice(2) as [string, string, string]
const absent = kind === 'phone'
  ? ['TextDecoder', 'TextEncoder', 'crypto', 'navigator', 'URL', 'URLSearchParams', 'addEventListener', 'btoa', 'atob']
  : ['navigator']
for (const name of absent) Reflect.deleteProperty(globalThis, name)
if (kind === 'phone') Reflect.deleteProperty(AbortSignal, 'timeout')
else {
  const { crypto } = globalThis
  const getRandomValues = crypto.getRandomValues.bind(crypto)
  Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues } })
}
Reflect.set(globalThis, 'WebSocket', WebSocket)
const { Buffer } = globalThis
Reflect.deleteProperty(globalThis, 'Buffer')
const { createClient, inMemory } = await import(bundle)
globalThis.Buffer = Buffer // for ws

const client = createClient({ endpoints: [endpoint], getToken: () => 'token', deviceId: 'phone', storage: inMemory() })
client.on('downlink', async ({ messageId }: { messageId: string }) => {
  const { seq } = await client.send('got ☃')
  console.log(JSON.stringify({ messageId, seq }))
  await client.close()
})
client.connect()
