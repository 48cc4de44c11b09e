import type { Books, Violation } from '../evidence/audit.js'
import { sum } from '../evidence/audit/books.js'
import { tablesOf } from '../evidence/audit/tables.js'

/** The books as a table for people, then the violations, and how many more there are. */
export function describeBooks (books: Books, told: readonly Violation[]): string {
  const tables = tablesOf(books).flatMap(({ title, rows }) =>
    ['', ...rows.map(([what, count], i) => row(i === 0 ? title : '', what, count))])
  const lines = [`${number(books.entries)} entries of ${number(books.users)} users`, ...tables]
  return [...lines, '', ...verdict(books, told), ''].join('\n')
}

function verdict ({ violations }: Books, told: readonly Violation[]): string[] {
  const total = sum(violations)
  if (total === 0) return ['No violations.']
  const lines = told.map(({ code, text, positions }) => `${code.padEnd(22)}  ${text}  ${positions.join(', ')}`)
  if (total > told.length) lines.push(`and ${number(total - told.length)} more`)
  const counts = Object.entries(violations).map(([code, count]) => `${number(count)} ${code}`)
  return [...lines, '', `${number(total)} violations: ${counts.join(', ')}`]
}

function row (title: string, what: string, count: number): string {
  return `${title.padEnd(12)}  ${what.padEnd(36)}  ${number(count).padStart(15)}`
}

function number (count: number): string { return (count === 0 ? 0 : count).toLocaleString('en-US') }
