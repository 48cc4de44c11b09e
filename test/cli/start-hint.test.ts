import { writeFileSync } from 'node:fs'
import t from 'tap'
import { startHint } from '../../cli/start-hint.js'
import { readConfig } from '../../gateway/read-config.js'

t.test('Whoever starts a node in a terminal', async t => {
  const data = t.testdir({ 'api-key': 'drawn-at-the-first-start\n' })
  const running = { http: 'http://127.0.0.1:8080', tcp: 'tcp://127.0.0.1:9100', api: 'http://127.0.0.1:8080' }
  const hint = (more: Record<string, string> = {}) => startHint(running, readConfig({ LEDGERLINE_DATA: data, ...more }))

  t.test('is told where the console is, and the key to sign in with', async t => {
    t.match(hint(), /^ {2}Console: http:\/\/127\.0\.0\.1:8080\/console\n {2}API key: drawn-at-the-first-start \(from .*api-key\)$/m)
    t.notMatch(hint({ LEDGERLINE_ROLES: 'edge,users,push,projections,ip-config' }), 'Console')
  })

  t.test('is shown no key that somebody has set', async t => {
    const set = hint({ LEDGERLINE_API_KEYS: 'a-key-that-somebody-has-set' })
    t.match(set, 'API key: one of LEDGERLINE_API_KEYS')
    t.notMatch(set, 'a-key-that-somebody-has-set')
    const file = `${data}/keys.json`
    writeFileSync(file, '{ "keys": [] }')
    t.match(hint({ LEDGERLINE_API_KEYS_FILE: file }), /API key: one of .*keys\.json; to make one: .*keys create/)
  })
})
