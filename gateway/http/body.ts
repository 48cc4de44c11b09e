import type { IncomingMessage } from 'node:http'
import { GatewayError } from '../../schemas/errors.js'

const roomBytesMin = 4_096

/** A payload may be escaped to six times its bytes, and a thousand user ids come with it. */
export function bodyBytesMax (frameBytesMax: number): number {
  return Math.max(1_048_576, 6 * frameBytesMax + 524_288)
}

/**
 * A request's body, in one buffer that grows as bytes come. Node hands out an object for each chunk, which takes a
 * hundred bytes and more however small it is: a body in chunks of one byte that is kept in these takes that for each.
 *
 * @throws GatewayError `payload-too-large`, where more is announced or comes; Error where the client has gone
 */
export async function readBody (request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  if (Number(request.headers['content-length']) > bytesMax) throw tooLarge(bytesMax)
  return await new Promise((resolve, reject) => {
    let room = Buffer.allocUnsafeSlow(roomBytesMin)
    let length = 0
    const onData = (chunk: Buffer): void => {
      const wanted = length + chunk.length
      if (wanted > bytesMax) {
        letGo()
        reject(tooLarge(bytesMax))
        return
      }
      if (wanted > room.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(wanted, Math.min(bytesMax, 2 * room.length)))
        room.copy(larger, 0, 0, length)
        room = larger
      }
      length += chunk.copy(room, length)
    }
    const onEnd = (): void => {
      letGo()
      resolve(room.subarray(0, length))
    }
    const onError = (error: Error): void => {
      letGo()
      reject(new GatewayError('bad-request', 'the body did not come to its end', { cause: error }))
    }
    const letGo = (): void => { request.off('data', onData).off('end', onEnd).off('error', onError) }
    request.on('data', onData).on('end', onEnd).on('error', onError)
  })
}

function tooLarge (bytesMax: number): GatewayError {
  return new GatewayError('payload-too-large', `body: want at most ${bytesMax} bytes`)
}
