/*
  CURSOR => base64url of TEXT
    TEXT => "u1:" PLACE *("," PLACE), one for each partition of `uplinks`
    PLACE => offset "." index, of the first item that the reader has not been given
*/

/** How far a reader of `uplinks` has come: the next item of each partition. */
export class UplinkCursor {
  readonly #places: string[]

  private constructor (places: string[]) {
    this.#places = places
  }

  static start (partitions: number): UplinkCursor {
    return new UplinkCursor(new Array<string>(partitions).fill('0.0'))
  }

  /** @throws RangeError when `text` is no cursor of a stream with so many partitions */
  static parse (text: string, partitions: number): UplinkCursor {
    const decoded = Buffer.from(text, 'base64url').toString('latin1')
    const places = decoded.slice(3).split(',')
    const fits = decoded.startsWith('u1:') && places.length === partitions &&
      places.every(place => /^\d{1,18}\.\d{1,9}$/.test(place))
    if (!fits || format(places) !== text) throw new RangeError('this cursor was not given out for this stream')
    return new UplinkCursor(places)
  }

  place (partition: number): { offset: bigint, index: number } {
    const [offset = '0', index = '0'] = this.#places[partition]?.split('.') ?? []
    return { offset: BigInt(offset), index: Number(index) }
  }

  move (partition: number, offset: bigint, index: number): void {
    this.#places[partition] = `${offset}.${index}`
  }

  toString (): string {
    return format(this.#places)
  }
}

function format (places: readonly string[]): string {
  return Buffer.from(`u1:${places.join(',')}`, 'latin1').toString('base64url')
}
