/** What an isolate remembers between requests, which it may lose at any time. */

/** Entries of one memory; the oldest go first. */
const MAX_REMEMBERED = 10_000

export const remember = <Value>(memory: Map<string, Value>, key: string, value: Value): Value => {
  memory.delete(key)
  memory.set(key, value)
  const [oldest] = memory.keys()
  if (memory.size > MAX_REMEMBERED && oldest !== undefined) memory.delete(oldest)
  return value
}
