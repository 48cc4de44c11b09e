/** Somebody with appends that wait. */
export interface Waiting {
  /** What it has that waits for nobody's turn: see `AppendQueue`. */
  readonly lightBytes: number
  /** What the first of the other appends takes; 0 where none waits. */
  readonly headBytes: number
  /** What all of them take. */
  readonly queuedBytes: number
  /** Called where somebody would wait for more than two commits: sources within it are told apart. */
  tellApart (): void
  /** Commits that had no room for it since it was served last. */
  passedOver: number
}

/**
 * What one commit takes on of appends where much waits; the rest goes with the next one, so that no commit keeps the
 * others waiting for long.
 */
export const commitBytesMax = 1 << 20
/**
 * Up to this all that waits goes with one commit, in the order of arrival, which costs nothing. To cut it in two would
 * keep twice as much waiting of clients who send little each: a tenth of the uplinks a second.
 */
const wholeBytesMax = 2 * commitBytesMax
/** Whoever had no room so often goes with the next commit, whatever that makes of its size. */
const passedOverMax = 2

/**
 * Deals one commit out to those who wait. Where they have more than it takes, each has an equal share of it, and what
 * one leaves of its share the others have: who has little waits for nobody, and who has much for itself. An append that
 * is larger than a share goes as long as there is room; who was passed over comes first then.
 *
 * @param serve writes what waits, up to so many bytes or one append; `isTurn` is false where nothing but its
 *   `lightBytes` is to go
 * @param roomBytes what the store has room for, where that is less than a commit takes
 * @returns who has more, in the order of the next turn
 */
export function deal<W extends Waiting> (
  waiting: readonly W[], serve: (served: W, bytesMax: number, isTurn: boolean) => void, roomBytes = Infinity
): W[] {
  const bytesMax = Math.min(commitBytesMax, roomBytes)
  const wholeMax = Math.min(wholeBytesMax, roomBytes)
  let queuedBytes = 0
  for (const { queuedBytes: bytes } of waiting) queuedBytes += bytes
  const passed: W[] = []
  const served: W[] = []
  const crowded = queuedBytes > wholeMax
  if (crowded) for (const one of waiting) one.tellApart()
  const share = bytesMax / waiting.length
  let room = bytesMax
  let left = waiting.length
  for (const one of crowded ? [...waiting].sort(byNeed) : waiting) {
    const mayHave = crowded ? Math.max(share, room / left) : wholeMax
    left--
    const { headBytes, lightBytes, queuedBytes } = one
    const fits = headBytes <= Math.max(mayHave, room) || room === bytesMax
    const isTurn = fits || one.passedOver >= passedOverMax
    one.passedOver = isTurn ? 0 : one.passedOver + 1
    if (isTurn || lightBytes > 0) serve(one, mayHave, isTurn)
    room = Math.max(0, room - queuedBytes + one.queuedBytes)
    if (!isTurn) passed.push(one)
    else if (one.queuedBytes > 0) served.push(one)
  }
  return [...passed, ...served]
}

/** Who was passed over comes first; of equals who has least, for that leaves the others most. */
function byNeed (a: Waiting, b: Waiting): number {
  return b.passedOver - a.passedOver || a.queuedBytes - b.queuedBytes
}
