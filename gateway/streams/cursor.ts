/*
  CURSOR => base64url of TEXT
    TEXT => NAME ":" PLACE *("," PLACE), one for each partition of the stream
    NAME => "u1" of `uplinks`, else the stream's own
    PLACE => offset "." index, of the first item that the reader has not been given
*/

/** How far a reader of a stream has come: the next item of each partition. */
export class StreamCursor {
  readonly #name: string
  readonly #places: string[]

  private constructor (name: string, places: string[]) {
    this.#name = name
    this.#places = places
  }

  /** @param stream its name */
  static start (stream: string, partitions: number): StreamCursor {
    return new StreamCursor(nameIn(stream), new Array<string>(partitions).fill('0.0'))
  }

  /** @throws RangeError when `text` is no cursor of a stream of this name with so many partitions */
  static parse (text: string, stream: string, partitions: number): StreamCursor {
    const name = nameIn(stream)
    const decoded = Buffer.from(text, 'base64url').toString('latin1')
    const places = decoded.slice(name.length + 1).split(',')
    const fits = decoded.startsWith(`${name}:`) && places.length === partitions &&
      places.every(place => /^\d{1,18}\.\d{1,9}$/.test(place))
    if (!fits || format(name, places) !== text) throw new RangeError('this cursor was not given out for this stream')
    return new StreamCursor(name, places)
  }

  place (partition: number): { offset: bigint, index: number } {
    const [offset = '0', index = '0'] = this.#places[partition]?.split('.') ?? []
    return { offset: BigInt(offset), index: Number(index) }
  }

  move (partition: number, offset: bigint, index: number): void {
    this.#places[partition] = `${offset}.${index}`
  }

  toString (): string {
    return format(this.#name, this.#places)
  }
}

/** Cursors of `uplinks` were given out before other streams had any. */
function nameIn (stream: string): string { return stream === 'uplinks' ? 'u1' : stream }

function format (name: string, places: readonly string[]): string {
  return Buffer.from(`${name}:${places.join(',')}`, 'latin1').toString('base64url')
}
