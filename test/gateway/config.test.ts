import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { settings } from '../../gateway/config.js'
import { readConfig, readStoreConfig } from '../../gateway/read-config.js'
import { readEnvironment } from '../../gateway/environment.js'
import { kafkaAccess } from '../../gateway/kafka-access.js'
import { ensureSecrets } from '../../gateway/secrets.js'
import { ConfigError, type Environment, flagOf } from '../../gateway/setting.js'

t.test('readConfig', async t => {
  t.test('has the defaults that docs/configuration.md names', async t => {
    const config = readConfig({})
    t.match(config, {
      dataDir: join(process.cwd(), 'data'),
      host: '127.0.0.1',
      httpPort: 8080,
      tcpPort: 9100,
      apiHost: '127.0.0.1',
      metricsOpen: false,
      metricsHost: '127.0.0.1',
      region: 'local',
      roles: ['edge', 'users', 'push', 'ip-config', 'projections', 'console', 'webhooks'],
      loginPolicy: 'device',
      heartbeatMs: 45_000,
      silenceMaxMs: 1_800_000,
      clockToleranceMs: 30_000,
      frameBytesMax: 65_536,
      uplinkWindow: 256,
      connectionsMax: 15_000,
      frameRate: 100,
      frameBurst: 200,
      byteRateMin: 512,
      acceptRate: 200,
      acceptRateTotal: 0,
      acceptUncounted: [],
      trustedProxies: [],
      byteRate: 1_048_576,
      byteBurst: 4_194_304,
      userByteRate: 4_194_304,
      userFrameRate: undefined,
      intakeBytesMax: 8_388_608,
      overloadWaitMs: 20,
      memoryBytesMax: 0,
      retentionMs: 604_800_000,
      retentionBytes: undefined,
      topicPrefix: 'ledgerline',
      apiKeys: [],
      kafkaBrokers: [],
    })
    t.equal(config.apiPort, undefined)
    t.equal(config.metricsPort, undefined)
    t.equal(config.jwtSecret, undefined)
    t.equal(config.publicWsUrl, undefined)
    t.match(config.nodeId, /^[\w.-]{1,64}$/)
  })

  t.test('wants ports that differ where listeners have one address', async t => {
    const [http, tcp, api, metrics] = ['HTTP', 'TCP', 'API', 'METRICS'].map(name => `LEDGERLINE_${name}_PORT`) as [string, string, string, string]
    const fails = (environment: Environment, ...named: string[]) => {
      t.throws(() => readConfig(environment), { name: 'ConfigError', message: new RegExp(`^${named.join('.*')}`) }, JSON.stringify(environment))
    }
    fails({ [http]: '1', [tcp]: '1' }, tcp, http)
    fails({ [api]: '9100' }, api, tcp)
    fails({ [metrics]: '8080' }, metrics, http)
    fails({ [api]: '1', [metrics]: '1' }, metrics, api)
    fails({ [http]: '1', [tcp]: '1', [api]: '1' }, tcp, http, `\\n${api}`, http, `\\n${api}`, tcp)
    for (const host of ['0.0.0.0', '::', 'localhost']) fails({ LEDGERLINE_HOST: host, [api]: '8080' }, api, http)
    fails({ LEDGERLINE_HOST: '::1', LEDGERLINE_API_HOST: '::', [api]: '8080' }, api, http)

    const places: Environment[] = [
      { [http]: '0', [tcp]: '0', [api]: '0', [metrics]: '0' },
      { LEDGERLINE_HOST: '10.0.0.1', [api]: '8080' },
      { LEDGERLINE_HOST: '0.0.0.0', LEDGERLINE_API_HOST: '::1', [api]: '8080' },
      { KAFKA_BROKERS: 'a:1', REDIS_URL: 'redis://a:1', LEDGERLINE_ROLES: 'push', [http]: '9100' },
    ]
    for (const environment of places) t.doesNotThrow(() => readConfig(environment), JSON.stringify(environment))
  })

  t.test('wants a port of the API\'s own where metrics are open', async t => {
    const error = { name: 'ConfigError', message: /^LEDGERLINE_API_PORT: .*LEDGERLINE_METRICS_OPEN/ }
    t.throws(() => readConfig({ LEDGERLINE_METRICS_OPEN: 'true' }), error)
    t.equal(readConfig({ LEDGERLINE_METRICS_OPEN: 'true', LEDGERLINE_API_PORT: '0' }).metricsOpen, true)
  })

  t.test('takes an option before a variable', async t => {
    const config = readConfig({ LEDGERLINE_HTTP_PORT: '1' }, { LEDGERLINE_HTTP_PORT: '2' })
    t.equal(config.httpPort, 2)
  })

  t.test('takes an empty variable for one that is not set', async t => {
    t.equal(readConfig({ LEDGERLINE_HTTP_PORT: '' }).httpPort, 8080)
  })

  t.test('reads lists without the blanks around their items', async t => {
    t.strictSame(readConfig({ LEDGERLINE_API_KEYS: ` ${'a'.repeat(20)}, ${'b'.repeat(30)} ,,` }).apiKeys,
      ['a'.repeat(20), 'b'.repeat(30)])
    t.strictSame(readConfig({ LEDGERLINE_ROLES: 'all' }).roles.length, 7)
    t.throws(() => readConfig({ LEDGERLINE_ROLES: 'push, edge' }), { message: /LEDGERLINE_ROLES: got edge,push, want all/ })
  })

  const wrong = {
    LEDGERLINE_HTTP_PORT: ['-1', '65536', '80.5', '1e3', 'http'],
    LEDGERLINE_HEARTBEAT_MS: ['99', '3600001', '60s'],
    LEDGERLINE_FRAME_BYTES_MAX: ['255', '524289'],
    LEDGERLINE_UPLINK_WINDOW: ['0', '10001'],
    LEDGERLINE_ROOMS_MAX: ['0', '10001'],
    LEDGERLINE_ROOM_SILENCE_MS: ['1', '86399999', '315360000001'],
    LEDGERLINE_CONNECTIONS_MAX: ['0', '1000001'],
    LEDGERLINE_FRAME_RATE: ['-1', '1000001'],
    LEDGERLINE_NODE_ID: ['a b', 'a'.repeat(65)],
    LEDGERLINE_ROLES: ['edges', 'edge,all', ','],
    LEDGERLINE_LOGIN_POLICY: ['devices'],
    LEDGERLINE_STREAMS_OFF: ['uplinks', 'presence,receipt'],
    LEDGERLINE_PRESENCE_GRACE_MS: ['-1', '3600001'],
    LEDGERLINE_OFFLINE_AFTER_MS: ['1s', '86400001'],
    LEDGERLINE_PUBLIC_WS_URL: ['http://a', 'ws://', 'wss://user:seen@a'],
    LEDGERLINE_PUBLIC_TCP_URL: ['a:9100'],
    LEDGERLINE_JWKS_URL: ['file:///etc/keys', 'https://user:seen@a/jwks', 'https://:seen@a', 'ldap://user:seen@a'],
    KAFKA_SASL_TOKEN_URL: ['https://user:seen@a/token'],
    LEDGERLINE_API_KEYS: ['two words in a long key', 'kéy of the twenty chars', 'k', 'k'.repeat(19), `${'k'.repeat(20)},short`],
    LEDGERLINE_JWT_SECRET: ['s', 's'.repeat(31), 'é'.repeat(15)],
    LEDGERLINE_JWT_ISSUER: ['two words', 'a,' + 'b'.repeat(257)],
    LEDGERLINE_JWT_AUDIENCE: ['two words'],
    LEDGERLINE_JWT_USER_CLAIM: ['two words', 'a'.repeat(257)],
    LEDGERLINE_CLOCK_TOLERANCE_MS: ['-1', '600001'],
    LEDGERLINE_SILENCE_MAX_MS: ['999', '86400001'],
    LEDGERLINE_TOPIC_PREFIX: ['with_underscore'],
    KAFKA_BROKERS: ['kafka'],
    REDIS_URL: ['localhost:6379'],
  }
  for (const [variable, values] of Object.entries(wrong)) {
    t.test(`names ${variable}, what it got and what it wants`, async t => {
      for (const value of values) {
        t.throws(() => readConfig({ [variable]: value }), {
          name: 'ConfigError',
          message: new RegExp(`^${variable} \\(--${flagOf(variable)}\\): got ".*", want .+`),
        }, JSON.stringify(value))
      }
    })
  }

  t.test('keeps secrets out of its messages', async t => {
    t.throws(() => readConfig({ LEDGERLINE_JWT_SECRET: 'hush' }), { message: /^(?!.*hush)/ })
    t.throws(() => readConfig({ LEDGERLINE_API_KEYS: 'hush hush' }), { message: /^(?!.*hush)/ })
    t.throws(() => readConfig({ REDIS_URL: 'hush' }), { message: /^(?!.*hush)/ })
    for (const variable of ['LEDGERLINE_JWKS_URL', 'LEDGERLINE_PUBLIC_WS_URL', 'KAFKA_SASL_TOKEN_URL']) {
      for (const url of ['https://ann:hush@a/b', 'https://hush@a', 'ldap://ann:hush@a']) {
        t.throws(() => readConfig({ [variable]: url }), { name: 'ConfigError', message: /^(?!.*hush).*…@a/ }, url)
      }
    }
  })

  t.test('refuses one half of a cluster', async t => {
    const kafka = { KAFKA_BROKERS: 'a:9092' }
    const redis = { REDIS_URL: 'redis://a:6379' }
    t.throws(() => readConfig(kafka), { name: 'ConfigError', message: /^REDIS_URL: got nothing/ })
    t.throws(() => readConfig(redis), { name: 'ConfigError', message: /^KAFKA_BROKERS: got nothing/ })
    t.match(readConfig({ ...kafka, ...redis }), { kafkaBrokers: ['a:9092'], redisUrl: 'redis://a:6379' })
  })

  t.test('takes some of the roles in a cluster only', async t => {
    const cluster = { KAFKA_BROKERS: 'a:9092,b:9092', REDIS_URL: 'redis://a:6379,b:6379' }
    t.strictSame(readConfig({ ...cluster, LEDGERLINE_ROLES: 'users, push' }).roles, ['users', 'push'])
  })

  t.test('reads where Redis is', async t => {
    const kafka = { KAFKA_BROKERS: 'a:9092' }
    for (const url of ['redis://a', 'rediss://u:p@a:1/2', 'redis://a:1,b:2', 'redis+cluster://a:1', 'rediss+cluster://[::1]:7000,b',
      'redis://[2001:db8::1]:6379/3', 'redis+sentinel://a:1,b:2/main', 'redis+sentinel://:p@[::1],b:2/my%20main/3']) {
      t.equal(readConfig({ ...kafka, REDIS_URL: url }).redisUrl, url)
    }
  })

  t.test('refuses two kinds of token keys', async t => {
    const both = { LEDGERLINE_JWT_SECRET: 'a'.repeat(32), LEDGERLINE_JWKS_URL: 'https://a/jwks' }
    t.throws(() => readConfig(both), { name: 'ConfigError', message: /got both/ })
  })
})

t.test('settings give every variable an option of its own', async t => {
  const flags = Object.values(settings).map(setting => flagOf(setting.variable))
  t.equal(new Set(flags).size, flags.length)
  t.equal(flagOf('LEDGERLINE_HTTP_PORT'), 'http-port')
  t.equal(flagOf('KAFKA_BROKERS'), 'kafka-brokers')
})

t.test('readEnvironment', async t => {
  t.test('reads a .env file, and the real environment over it', async t => {
    const directory = t.testdir({ '.env': 'LEDGERLINE_REGION=north\nPATH=/nowhere\n' })
    const env = readEnvironment(directory)
    t.equal(env['LEDGERLINE_REGION'], 'north')
    t.equal(env['PATH'], process.env['PATH'])
  })

  t.test('does without a .env file', async t => {
    t.equal(readEnvironment(t.testdir())['PATH'], process.env['PATH'])
  })

  t.test('says so when .env cannot be read', async t => {
    t.throws(() => readEnvironment(t.testdir({ '.env': {} })), { name: 'ConfigError', message: /\.env: cannot be read/ })
  })
})

t.test('a value from a file that ends with a newline is trimmed', async t => {
  const config = readConfig({
    LEDGERLINE_JWT_SECRET: `  ${'secret'.repeat(6)}\r\n`, LEDGERLINE_API_KEYS: `${'k'.repeat(20)}\n`, LEDGERLINE_HTTP_PORT: '80\n',
  })
  t.equal(config.jwtSecret, 'secret'.repeat(6))
  t.strictSame(config.apiKeys, ['k'.repeat(20)])
  t.equal(config.httpPort, 80)
})

t.test('ensureSecrets', async t => {
  t.test('generates both secrets for nobody else to read', async t => {
    const dataDir = join(t.testdir(), 'a', 'b')
    const config = await ensureSecrets(readConfig({ LEDGERLINE_DATA: dataDir }))
    t.match(config.jwtSecret, /^[\w-]{43}$/)
    t.match(config.apiKeys, [/^[\w-]{43}$/])
    t.equal((await stat(dataDir)).mode & 0o777, 0o700)
    for (const name of ['jwt-secret', 'api-key']) t.equal((await stat(join(dataDir, name))).mode & 0o777, 0o600)
    t.strictSame((await readdir(dataDir)).sort(), ['api-key', 'jwt-secret'])
  })

  t.test('gives many that start at once the same secrets', async t => {
    const config = readConfig({ LEDGERLINE_DATA: t.testdir() })
    const all = await Promise.all(Array.from({ length: 20 }, () => ensureSecrets(config)))
    t.equal(new Set(all.map(each => `${each.jwtSecret} ${each.apiKeys[0]}`)).size, 1)
  })

  t.test('generates nothing that is configured', async t => {
    const dataDir = t.testdir()
    const apiKey = 'k'.repeat(20)
    const config = readConfig({
      LEDGERLINE_DATA: dataDir, LEDGERLINE_JWKS_URL: 'https://a/jwks', LEDGERLINE_API_KEYS: apiKey,
    })
    t.match(await ensureSecrets(config), { jwtSecret: undefined, apiKeys: [apiKey] })
    t.strictSame(await readdir(dataDir), [])
  })

  t.test('generates no key beside a file of keys', async t => {
    const dataDir = t.testdir()
    const config = readConfig({ LEDGERLINE_DATA: dataDir, LEDGERLINE_API_KEYS_FILE: 'keys.json' })
    t.strictSame((await ensureSecrets(config)).apiKeys, [])
    t.strictSame(await readdir(dataDir), ['jwt-secret'])
  })

  t.test('makes an empty directory private, and leaves a used one as it is', async t => {
    const dataDir = join(t.testdir(), 'data')
    await mkdir(dataDir, { mode: 0o755 })
    await ensureSecrets(readConfig({ LEDGERLINE_DATA: dataDir }))
    t.equal((await stat(dataDir)).mode & 0o777, 0o700)
    const used = t.testdir({ file: '' })
    const { mode } = await stat(used)
    await ensureSecrets(readConfig({ LEDGERLINE_DATA: used }))
    t.equal((await stat(used)).mode, mode)
  })

  t.test('refuses an empty secret', async t => {
    const config = readConfig({ LEDGERLINE_DATA: t.testdir({ 'api-key': '\n' }) })
    await t.rejects(ensureSecrets(config), { name: 'ConfigError', message: /api-key: got an empty file/ })
  })

  t.test('names LEDGERLINE_DATA when the directory cannot be made', async t => {
    const file = join(t.testdir({ file: '' }), 'file')
    await t.rejects(ensureSecrets(readConfig({ LEDGERLINE_DATA: file })), ConfigError)
    await t.rejects(ensureSecrets(readConfig({ LEDGERLINE_DATA: join(file, 'below') })), { message: /^LEDGERLINE_DATA/ })
  })

  t.test('reads a secret that somebody wrote by hand', async t => {
    const dataDir = t.testdir()
    const byHand = 'written by hand, and long enough'
    await writeFile(join(dataDir, 'jwt-secret'), `  ${byHand}\n`)
    t.equal((await ensureSecrets(readConfig({ LEDGERLINE_DATA: dataDir }))).jwtSecret, byHand)
    t.equal(await readFile(join(dataDir, 'jwt-secret'), 'utf8'), `  ${byHand}\n`)
  })

  t.test('refuses a secret or a key that somebody wrote by hand and that can be guessed', async t => {
    for (const [file, text] of [['jwt-secret', 's'.repeat(31)], ['api-key', 'k'.repeat(19)]] as const) {
      const dataDir = join(t.testdir(), file)
      await mkdir(dataDir)
      await writeFile(join(dataDir, file), text)
      await t.rejects(ensureSecrets(readConfig({ LEDGERLINE_DATA: dataDir })), {
        name: 'ConfigError', message: new RegExp(`${file}: got something else, want .* at least`),
      })
    }
  })
})

t.test('the way to Kafka', async t => {
  const cluster = { KAFKA_BROKERS: 'a:9093', REDIS_URL: 'redis://a' }
  const files = t.testdir({ empty: '', text: 'no certificate', password: 'secret\n' })
  const login = { KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_USERNAME: 'ann', KAFKA_SASL_PASSWORD: 'secret' }
  const refused: Array<[Record<string, string>, RegExp]> = [
    [{ KAFKA_SSL: 'yes' }, /^KAFKA_SSL \(--kafka-ssl\): got "yes", want true or false/],
    [{ KAFKA_SSL_CA_FILE: `${files}/none` }, /^KAFKA_SSL_CA_FILE .* want a file with certificates in PEM \(ENOENT\)/],
    [{ KAFKA_SSL_CA_FILE: `${files}/text` }, /^KAFKA_SSL_CA_FILE .* want a file with certificates in PEM/],
    [{ KAFKA_SSL_KEY_FILE: `${files}/text` }, /^KAFKA_SSL_CERT_FILE .* the file that belongs to KAFKA_SSL_KEY_FILE/],
    [{ KAFKA_SSL: 'false', KAFKA_SSL_CA_FILE: `${files}/text` }, /^KAFKA_SSL .* got false, want true, for KAFKA_SSL_CA_FILE/],
    [{ KAFKA_SASL_USERNAME: 'ann' }, /^KAFKA_SASL_MECHANISM .* want one of PLAIN, .* for KAFKA_SASL_USERNAME is set/],
    [{ KAFKA_SASL_MECHANISM: 'scram' }, /^KAFKA_SASL_MECHANISM .* want one of PLAIN, SCRAM-SHA-256/],
    [{ ...login, KAFKA_SASL_USERNAME: '' }, /^KAFKA_SASL_USERNAME .* got nothing/],
    [{ ...login, KAFKA_SASL_PASSWORD: '' }, /^KAFKA_SASL_PASSWORD .* want .* or KAFKA_SASL_PASSWORD_FILE/],
    [{ ...login, KAFKA_SASL_PASSWORD_FILE: `${files}/password` }, /got both, want one of them/],
    [{ ...login, KAFKA_SASL_PASSWORD: '', KAFKA_SASL_PASSWORD_FILE: `${files}/empty` }, /^KAFKA_SASL_PASSWORD_FILE .* not empty/],
    [{ ...login, KAFKA_SASL_TOKEN_URL: 'https://a/token' }, /^KAFKA_SASL_TOKEN_URL .* of no use with KAFKA_SASL_MECHANISM=PLAIN/],
    [{ KAFKA_SASL_MECHANISM: 'OAUTHBEARER' }, /^KAFKA_SASL_TOKEN_URL .* or KAFKA_SASL_TOKEN_FILE/],
    [{ KAFKA_SASL_MECHANISM: 'OAUTHBEARER', KAFKA_SASL_TOKEN_URL: 'https://a/token' }, /^KAFKA_SASL_USERNAME/],
    [{ KAFKA_SASL_MECHANISM: 'OAUTHBEARER', KAFKA_SASL_TOKEN_FILE: `${files}/none` }, /^KAFKA_SASL_TOKEN_FILE .* \(ENOENT\)/],
    [{ KAFKA_SASL_EXTENSIONS: 'a' }, /^KAFKA_SASL_EXTENSIONS .* want comma-separated NAME=VALUE/],
    [{ KAFKA_SASL_MECHANISM: 'AWS_MSK_IAM' }, /^KAFKA_SASL_AWS_REGION/],
    [{ KAFKA_SASL_MECHANISM: 'AWS_MSK_IAM', KAFKA_SASL_AWS_REGION: 'eu-west-1', KAFKA_SSL: 'false' }, /^KAFKA_SSL .* got false/],
  ]
  for (const [env, message] of refused) {
    t.throws(() => readConfig({ ...cluster, ...env }), { name: 'ConfigError', message }, JSON.stringify(env))
    t.throws(() => readStoreConfig(env), { name: 'ConfigError', message }, 'by commands as well')
  }
  t.throws(() => readConfig({ ...cluster, ...login, KAFKA_SASL_PASSWORD: 'x'.repeat(257) }), { message: /^(?!.*xxx)/ })

  const options = (env: Record<string, string>) => kafkaAccess(readConfig({ ...cluster, ...env }))
  t.strictSame(options({}), { connectMs: 2_000 }, 'is plain TCP by default')
  t.match(options({ KAFKA_SSL: 'true', KAFKA_SSL_SERVER_NAME: 'kafka' }), { ssl: { servername: 'kafka' } })
  t.ok(options({ KAFKA_SSL_SERVER_NAME: 'kafka' }).ssl, 'is TLS where something of TLS is set')
  t.match(options(login), { sasl: { mechanism: 'PLAIN', username: 'ann' }, ssl: undefined })
  t.match(options({ KAFKA_SASL_MECHANISM: 'AWS_MSK_IAM', KAFKA_SASL_AWS_REGION: 'eu-west-1' }), {
    sasl: { mechanism: 'OAUTHBEARER' }, ssl: {},
  })
})

t.test('the way to the schema registry', async t => {
  const cluster = { KAFKA_BROKERS: 'a:9093', REDIS_URL: 'redis://a' }
  t.throws(() => readConfig({ ...cluster, SCHEMA_REGISTRY_URL: 'https://ann:hush%zz@a' }), {
    name: 'ConfigError', message: /^SCHEMA_REGISTRY_URL: (?!.*hush).*"%25"/,
  })
  t.equal(readConfig({ ...cluster, SCHEMA_REGISTRY_URL: 'https://ann:a%25b@a' }).schemaRegistryUrl, 'https://ann:a%25b@a')
})

t.test('the way to Redis', async t => {
  const cluster = { KAFKA_BROKERS: 'a:9093', REDIS_URL: 'redis://a' }
  const files = t.testdir({ text: 'no certificate' })
  const refused: Array<[Record<string, string>, RegExp]> = [
    [{ REDIS_URL: 'redis://a/b' }, /^REDIS_URL .* want redis:\/\/HOST:PORT\/DB, redis\+cluster/],
    [{ REDIS_SSL_CA_FILE: `${files}/text` }, /^REDIS_URL: got a URL without TLS/],
    [{ REDIS_URL: 'rediss://a', REDIS_SSL_CA_FILE: `${files}/text` }, /^REDIS_SSL_CA_FILE .* want a file with certificates/],
    [{ REDIS_URL: 'redis://:p@a', REDIS_PASSWORD: 'p' }, /^REDIS_URL and REDIS_PASSWORD: got a password in both/],
    [{ REDIS_URL: 'redis://u:p@a', REDIS_USERNAME: 'u' }, /^REDIS_URL and REDIS_USERNAME: got a user in both/],
    [{ REDIS_USERNAME: 'u' }, /^REDIS_PASSWORD: got nothing/],
    [{ REDIS_PASSWORD: 'p', REDIS_PASSWORD_FILE: `${files}/text` }, /got both, want one of them/],
    [{ REDIS_PASSWORD_FILE: `${files}/none` }, /^REDIS_PASSWORD_FILE .* \(ENOENT\)/],
    [{ REDIS_SENTINEL_PASSWORD: 'p' }, /^REDIS_SENTINEL_PASSWORD: of no use without redis\+sentinel/],
    [{ REDIS_URL: 'redis+sentinel://a/m', REDIS_SENTINEL_USERNAME: 'u' }, /^REDIS_SENTINEL_PASSWORD: got nothing/],
  ]
  for (const [env, message] of refused) {
    t.throws(() => readConfig({ ...cluster, ...env }), { name: 'ConfigError', message }, JSON.stringify(env))
  }
})
