/** When an item of a stream came to be, ms since 1970; undefined for a stream whose items do not say. */
export function timeOf (item: any): number | undefined {
  return item?.atMs ?? item?.receivedAtMs ?? item?.closedAtMs ?? item?.rejectedAtMs ?? item?.unackedAtMs ??
    item?.postedAtMs ?? item?.settledAtMs ?? item?.undeliveredAtMs
}
