import { recallService } from '../schemas/text.js'
import type { Listeners } from './events.js'
import type { ReceivedDownlink } from './inbox.js'

/**
 * Hands a downlink on, or what the gateway itself says by one: that an earlier one was taken back. An application that
 * listens for downlinks alone does not care for the latter.
 *
 * @returns resolves once every listener has done with it; undefined where nobody listens
 */
export function handOn (listeners: Listeners, downlink: ReceivedDownlink): Promise<unknown> | undefined {
  const isRecall = downlink.service === recallService
  if (!listeners.has('downlink') && !(isRecall && listeners.has('recall'))) return undefined
  if (!isRecall) return listeners.ask('downlink', downlink)
  // Its ack is ours to call also where the application calls those of its downlinks.
  return listeners.ask('recall', { messageId: downlink.text() }).then(() => downlink.ack())
}
