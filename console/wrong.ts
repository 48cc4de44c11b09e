/** Something that is wrong, for people. */
export interface Wrong {
  readonly key: string
  readonly title: string
  readonly text: string
  /** What ends it. */
  readonly mends: string
  readonly command: string
  /** Clients notice. */
  readonly isGrave: boolean
  /** A page that shows more of it. */
  readonly link?: { readonly text: string, readonly to: string } | undefined
}
