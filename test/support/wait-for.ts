/** Waiting for a condition, never for a time. */

/** Polls until `check` answers something truthy. Patience is in milliseconds. */
export const waitFor = async <T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  patience = 28_000,
): Promise<T> => {
  for (const started = Date.now(); Date.now() - started < patience; ) {
    const result = await check()
    if (result) return result
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${what}: not within ${patience} ms`)
}
