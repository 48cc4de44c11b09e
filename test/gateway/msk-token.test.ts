import { createRequire } from 'node:module'
import t from 'tap'
import { kafkaAccess } from '../../gateway/kafka-access.js'
import { readStoreConfig } from '../../gateway/read-config.js'

/** The signer is installed for tests, and otherwise where it is needed. */
function signerMissing (): string | undefined {
  try {
    createRequire(import.meta.url).resolve('aws-msk-iam-sasl-signer-js')
    return undefined
  } catch {
    return 'needs aws-msk-iam-sasl-signer-js: npm ci'
  }
}

t.test('A login by AWS IAM', { skip: signerMissing() ?? false }, async t => {
  const before = { ...process.env }
  t.teardown(() => { process.env = before })
  process.env['AWS_ACCESS_KEY_ID'] = 'AKIDEXAMPLE'
  process.env['AWS_SECRET_ACCESS_KEY'] = 'secret'
  process.env['AWS_EC2_METADATA_DISABLED'] = 'true'
  const { sasl, ssl } = kafkaAccess(readStoreConfig({
    KAFKA_BROKERS: 'a:9098', KAFKA_SASL_MECHANISM: 'AWS_MSK_IAM', KAFKA_SASL_AWS_REGION: 'eu-west-1',
  }))
  t.ok(ssl, 'is over TLS without being told')
  if (sasl?.mechanism !== 'OAUTHBEARER') return t.fail('is a token')
  const { value } = await sasl.oauthBearerProvider()
  const signed = new URL(Buffer.from(value, 'base64url').toString())
  t.equal(signed.host, 'kafka.eu-west-1.amazonaws.com')
  t.equal(signed.searchParams.get('Action'), 'kafka-cluster:Connect')
  t.match(signed.searchParams.get('X-Amz-Credential'), /^AKIDEXAMPLE\/\d{8}\/eu-west-1\/kafka-cluster\/aws4_request$/)
  t.match(signed.searchParams.get('X-Amz-Signature'), /^[\da-f]{64}$/)
})
