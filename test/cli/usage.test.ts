import { join } from 'node:path'
import t from 'tap'
import { settings } from '../../gateway/config.js'
import { flagOf } from '../../gateway/setting.js'
import { run } from './given.js'

t.test('ledgerline', async t => {
  const cwd = t.testdir()

  for (const args of [['--help'], ['--version'], ['help', 'start'], ['push', '--help']]) {
    t.test(`exits with 0 after ${args.join(' ')}`, async t => {
      const { code, stdout, stderr } = await run(args, { cwd })
      t.equal(code, 0)
      t.not(stdout, '')
      t.equal(stderr, '')
    })
  }

  const wrong: Array<[string[], RegExp]> = [
    [[], /Usage: ledgerline/],
    [['strat'], /unknown command 'strat'/],
    [['start', '--port', '1'], /unknown option '--port'/],
    [['start', '--http-prot', '1'], /did you mean --http-port\?/i],
    [['start', 'now'], /too many arguments/],
    [['push', 'ann'], /missing required argument 'text'/],
    [['push', 'ann', 'hi', '--ttl', '5'], /Want a number and a unit/],
    [['token', 'ann', '--ttl', '0d'], /Want a number and a unit/],
    [['token', 'ann', '--rooms', 'chat:*'], /want PATTERN=r/],
    [['token', 'ann', '--rooms', 'a*b=r'], /want an object of at most 64 patterns/],
    [['token', 'ann', '--rooms', '{'], /want JSON/],
    [['connect', 'ann', '--transport', 'udp'], /Allowed choices are ws, tcp/],
    [['uplinks', '--url', 'localhost:8080'], /^ledgerline: --url: got "localhost:8080", want a URL/],
    [['start', '--http-port', 'x'], /^ledgerline: LEDGERLINE_HTTP_PORT \(--http-port\): got "x", want an integer from 0/],
  ]
  for (const [args, message] of wrong) {
    t.test(`exits with 2 after ${args.join(' ') || 'nothing'}`, async t => {
      const { code, stdout, stderr } = await run(args, { cwd })
      t.equal(code, 2)
      t.match(stderr, message)
      t.equal(stdout, '')
    })
  }

  for (const [variable, value, want] of [
    ['LEDGERLINE_TCP_PORT', '70000', 'an integer from 0 to 65535'],
    ['LEDGERLINE_LOGIN_POLICY', 'all', 'one of device, platform, user, none'],
    ['KAFKA_BROKERS', 'a', 'comma-separated HOST:PORT'],
  ] as const) {
    t.test(`exits with 2 when ${variable} is wrong, and says what it wants`, async t => {
      const { code, stderr } = await run(['start'], { cwd, env: { [variable]: value } })
      t.equal(code, 2)
      t.equal(stderr, `ledgerline: ${variable} (--${flagOf(variable)}): got "${value}", want ${want}\n`)
    })
  }

  t.test('reads a .env file, and the environment over it', async t => {
    const cwd = t.testdir({ '.env': 'LEDGERLINE_HTTP_PORT=from-file\n' })
    t.match((await run(['start'], { cwd })).stderr, /got "from-file"/)
    t.match((await run(['start'], { cwd, env: { LEDGERLINE_HTTP_PORT: 'real' } })).stderr, /got "real"/)
  })

  for (const [args, name, hint] of [
    [['start'], 'LEDGERLINE_HTPP_PORT', 'did you mean LEDGERLINE_HTTP_PORT?'],
    [['start'], 'KAFKA_BROKER', 'did you mean KAFKA_BROKERS?'],
    [['push', 'ann', 'hi'], 'LEDGERLINE_ULR', 'did you mean LEDGERLINE_URL?'],
    [['token', 'ann'], 'LEDGERLINE_NOTHING', '`ledgerline config docs` lists them all'],
  ] as const) {
    t.test(`exits with 2 when ${name} is set, from ${args[0]}`, async t => {
      t.match(await run([...args], { cwd, env: { [name]: '1' } }), {
        code: 2, stderr: `ledgerline: ${name}: there is no such variable; ${hint}\n`,
      })
      const path = t.testdir({ '.env': `${name}=1\n` })
      t.match(await run([...args], { cwd: path }), {
        code: 2, stderr: `ledgerline: ${name} in ${join(path, '.env')}: there is no such variable; ${hint}\n`,
      })
    })
  }

  t.test('names every option of start with its variable', async t => {
    const { stdout } = await run(['start', '--help'], { cwd })
    for (const { variable } of Object.values(settings)) {
      t.match(stdout, `--${flagOf(variable)} <value>`)
      t.match(stdout, variable)
    }
  })
})
