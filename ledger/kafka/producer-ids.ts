import type { Cluster } from './cluster.js'
import type { Stamp } from './record-batch.js'
import { check, initProducerId } from './wire.js'

/** The producer id that partitions begin their sequences with: one for all, until somebody needs a new one. */
export class ProducerIds {
  private asked: Promise<Stamp> | undefined

  constructor (private readonly cluster: Cluster, private readonly deadlineMs: number) {}

  /**
   * @param node a broker to ask where there is none yet
   * @throws NoAnswer or KafkaError; asks again next time
   */
  current (node: number): Promise<Stamp> {
    this.asked ??= this.ask(node).catch(err => {
      this.asked = undefined
      throw err
    })
    return this.asked
  }

  /** Partitions that ask from now on get another one. */
  renew (): void { this.asked = undefined }

  private async ask (node: number): Promise<Stamp> {
    const connection = await this.cluster.connection(node, 'produce')
    const question = { transactionalId: null, transactionTimeout: this.deadlineMs }
    const answer = await connection.send(initProducerId, question, this.deadlineMs)
    check(answer, 'InitProducerId')
    return { producerId: BigInt(answer.producerId), producerEpoch: answer.producerEpoch, sequence: 0 }
  }
}
