/** Many requests at once, and how they were answered. */

export const times = <T>(count: number, run: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => run(i)))

/** How many answers of each status there were. */
export const tally = (answers: { status: number | string }[]): Record<number | string, number> =>
  Object.fromEntries(
    [...Map.groupBy(answers, ({ status }) => status)].map(([status, group]) => [status, group.length]),
  )
