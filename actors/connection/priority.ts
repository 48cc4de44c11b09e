/** Priorities of uplinks that are told apart. A lower one counts as the lowest, a higher one as the highest. */
export const priorities = { min: -4, max: 11 } as const

export const ranksMax = priorities.max - priorities.min + 1

/** The place of a priority among those that are told apart, 0 for the lowest. */
export function rankOf (priority: number): number {
  const { min, max } = priorities
  return (priority < min ? min : priority > max ? max : priority) - min
}
