/**
 * The whole of an answer's body, as text.
 *
 * @returns undefined where it has more than `bytesMax` bytes; no more of it is read then
 */
export async function textWithin (body: AsyncIterable<Buffer>, bytesMax: number): Promise<string | undefined> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of body) {
    bytes += part.length
    if (bytes > bytesMax) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}
