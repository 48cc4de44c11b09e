import { NotAdmitted } from '../ledger/kafka/no-answer.js'
import type { OauthToken } from '../ledger/kafka/sasl.js'

const signer = 'aws-msk-iam-sasl-signer-js'

/**
 * Tokens for Amazon MSK, signed by the AWS credentials of this process (environment, profile, role of the instance, the
 * task or the service account). The package that does it comes with much of the AWS SDK, so it is installed only where
 * it is needed.
 *
 * @returns rejects with NotAdmitted where the package is missing, with Error where there are no credentials
 */
export function mskToken (region: string): () => Promise<OauthToken> {
  return async () => {
    const { generateAuthToken } = await loadSigner()
    try {
      return { value: (await generateAuthToken({ region })).token }
    } catch (err) {
      throw new Error(`no token of AWS for region ${region}: ${(err as Error).message}`, { cause: err })
    }
  }
}

interface Signer { generateAuthToken (options: { region: string }): Promise<{ token: string }> }

async function loadSigner (): Promise<Signer> {
  try {
    return await import(signer) as Signer
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw err
    throw new NotAdmitted(`KAFKA_SASL_MECHANISM=AWS_MSK_IAM needs a package that is not there: npm install ${signer}`)
  }
}
