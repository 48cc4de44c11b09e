/** Rows as text with aligned columns: the first one to the left, the others to the right. */
export function columns (rows: ReadonlyArray<readonly string[]>): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map(row => row[i]!.length)))
  return rows.map(row => row
    .map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))
    .join('  ').trimEnd() + '\n').join('')
}
