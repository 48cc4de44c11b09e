/** Of a longer name no more is looked at: names come from outside. */
const lettersMax = 64

/** For an error about a name that is none: ` Did you mean "endpoints"?`, or nothing where none is near. */
export function didYouMean (name: string, names: readonly string[]): string {
  const meant = nearest(name, names, Math.ceil(Math.min(name.length, lettersMax) / 3))
  return meant === undefined ? '' : ` Did you mean "${meant}"?`
}

/**
 * The one of `names` that was probably meant, in whatever case.
 *
 * @returns undefined where more than `editsMax` letters of each differ
 */
export function nearest (name: string, names: readonly string[], editsMax: number): string | undefined {
  const given = name.slice(0, lettersMax).toLowerCase()
  let best: string | undefined
  let editsBest = editsMax + 1
  for (const each of names) {
    const edits = editsBetween(given, each.toLowerCase())
    if (edits < editsBest) [best, editsBest] = [each, edits]
  }
  return best
}

/** Letters to insert, remove or replace (Levenshtein). */
function editsBetween (from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[to.length]!
}
