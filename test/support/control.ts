/** The stack that the tests run against: where it is, and what the process that runs it does on request. */
import { inject } from 'vitest'

export const stack = inject('stack')

/** Runs one of the operations in `stack.ts`. */
export const control = async <T = unknown>(operation: string, argument?: unknown): Promise<T> => {
  const response = await fetch(`${stack.control}/${operation}`, {
    method: 'POST',
    ...(argument !== undefined && { body: JSON.stringify(argument) }),
  })
  if (!response.ok) throw new Error(await response.text())
  // Each operation has its own result, which its caller knows.
  return (await response.json()) as T
}

/** What the Worker has logged about one request, once it has: after its answer, or without one. */
export const logOf = async (requestId: string): Promise<Record<string, unknown> | undefined> => {
  const line = await control<string | null>('logged', requestId)
  return line === null ? undefined : JSON.parse(line)
}
