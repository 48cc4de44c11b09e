/** Of a longer name no more is looked at: names come from outside. */
const lettersMax = 64

/** For an error about a name that is none: ` Did you mean "endpoints"?`, or nothing where none is near. */
export function didYouMean (name: string, names: readonly string[]): string {
  const given = name.slice(0, lettersMax).toLowerCase()
  const limit = 1 + given.length / 3
  const [nearest, edits] = names
    .map(each => [each, editsBetween(given, each.toLowerCase())] as const)
    .reduce((best, each) => each[1] < best[1] ? each : best, ['', limit])
  return edits < limit ? ` Did you mean "${nearest}"?` : ''
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
