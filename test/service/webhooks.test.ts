import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { Webhook as Signer } from 'standardwebhooks'
import t from 'tap'
import { signed } from '../../gateway/webhooks/signature.js'
import { verify, WebhookVerificationError } from '../../service/webhooks.js'

const run = promisify(execFile)
const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'] as const
const keys = secrets.map(text => Buffer.from(text.slice(6), 'base64'))
const event = { id: 'msg_1', type: 'uplink.accepted', timestamp: '2027-01-31T00:00:00.000Z', data: { userId: 'žofie' } }
const body = JSON.stringify(event)
const headersOf = (body: string, more: object = {}) => ({ ...signed('msg_1', body, keys, Date.now()), ...more })

t.test('verify', async t => {
  t.test('takes what a gateway signs, and what any other signer of Standard Webhooks does', async t => {
    for (const secret of [...secrets, secrets]) t.strictSame(verify(headersOf(body), body, secret), [event])
    t.strictSame(verify(headersOf(body), Buffer.from(body), secrets[0]), [event])
    const batch = JSON.stringify([event, event])
    t.strictSame(verify(headersOf(batch), batch, secrets[1]), [event, event])
    const now = new Date()
    const signature = new Signer(secrets[0]).sign('msg_9', now, body)
    const headers = { 'webhook-id': 'msg_9', 'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)), 'webhook-signature': signature }
    t.strictSame(verify(headers, body, secrets[0]), [event])
  })

  t.test('refuses what was changed, is old, or is signed by somebody else', async t => {
    const wrong = (headers: object, text = body, secret: string = secrets[0]) =>
      t.throws(() => verify(headers as any, text, secret), WebhookVerificationError)
    wrong(headersOf(body), `${body} `)
    wrong(headersOf(body, { 'webhook-id': 'msg_2' }))
    wrong(headersOf(body), body, 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA')
    wrong(signed('msg_1', body, keys, Date.now() - 301_000))
    wrong(signed('msg_1', body, keys, Date.now() + 302_000))
    wrong(headersOf(body, { 'webhook-signature': 'v2,AAAA v1,AAAA' }))
    wrong(headersOf(body, { 'webhook-timestamp': '1e9' }))
    wrong({})
    t.throws(() => verify(headersOf(body), body, 'whsec_'), TypeError)
  })
})

t.test('The verification in Python of docs/webhooks.md does the same', async t => {
  const docs = readFileSync(new URL('../../../docs/webhooks.md', import.meta.url), 'utf8')
  const [, code] = /```python\n(.*?)```/s.exec(docs)!
  const ask = async (headers: object, text: string, secret: string) => {
    const main = `${code}\nimport sys\nh, b, s = json.loads(sys.argv[1])\nprint(json.dumps(verify(h, b.encode(), s)))\n`
    return await run('python3', ['-c', main, JSON.stringify([headers, text, secret])])
  }
  t.strictSame(JSON.parse((await ask(headersOf(body), body, secrets[1])).stdout), [event])
  for (const [headers, text] of [[headersOf(body), `${body} `], [signed('msg_1', body, keys, 0), body]] as const) {
    await t.rejects(ask(headers, text, secrets[0]))
  }
})
