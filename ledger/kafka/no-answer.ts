/** The broker did not answer; where `sent`, nobody knows what it has done. */
export class NoAnswer extends Error {
  override readonly name: string = 'NoAnswer'
  constructor (message: string, readonly sent: boolean, options?: ErrorOptions) { super(message, options) }
}

/**
 * The broker lets nobody in who comes like this: the login, a certificate, or the kind of connection. It is tried again
 * while a node runs, for passwords and certificates are renewed; a node that starts gives up.
 */
export class NotAdmitted extends NoAnswer {
  override readonly name = 'KafkaNotAdmitted'
  readonly code = 'misconfigured'
  constructor (message: string, options?: ErrorOptions) { super(message, false, options) }
}

/** Kafka is not set up as is wanted, and no later answer would differ: what to change, in words. */
export class NotSetUp extends Error {
  override readonly name = 'KafkaNotSetUp'
  readonly code = 'misconfigured'
}

/** The broker speaks other versions than we do; trying again is of no use. */
export class UnsupportedBroker extends Error { override readonly name = 'UnsupportedBroker' }
