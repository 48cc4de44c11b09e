import { setMaxListeners } from 'node:events'

/**
 * Ends waits of which there may be any number at the same time, such as one for each partition. From the eleventh on
 * Node would warn of a leak otherwise, on stderr, among the lines of the log.
 */
export function endingOfMany (): AbortController {
  const ending = new AbortController()
  setMaxListeners(0, ending.signal)
  return ending
}
