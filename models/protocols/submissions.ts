/** Counts the requests that ask for something to be made, and remembers what they said. */
import type { Provider } from './faults.ts'

const maxRemembered = 1_000
/** Characters: a longer text is a file in base64. */
const maxText = 40_000

interface Submission {
  provider: Provider
  model: string
  /** As it was sent, but for files, of which only the size is kept. */
  input: unknown
}

export interface Submissions {
  note(provider: Provider, model: string, input: unknown): void
  total(): number
  counts(): Record<Provider, number>
  /** Newest first. */
  recent(): Submission[]
  forget(): void
}

const withoutFiles = (input: unknown): unknown =>
  JSON.parse(
    JSON.stringify(input, (_, value: unknown) => {
      if (value instanceof Uint8Array) return `<${value.byteLength} bytes>`
      if (value instanceof Blob) return `<${value.type}, ${value.size} bytes>`
      return typeof value === 'string' && value.length > maxText ? `<${value.length} characters>` : value
    }),
  )

export function createSubmissions(): Submissions {
  const none = { replicate: 0, fal: 0, openai: 0, gemini: 0, cloudflare: 0 }
  let counts: Record<Provider, number> = { ...none }
  let recent: Submission[] = []
  return {
    note(provider, model, input) {
      counts[provider]++
      recent = [{ provider, model, input: withoutFiles(input) }, ...recent].slice(0, maxRemembered)
    },
    total: () => Object.values(counts).reduce((sum, count) => sum + count),
    counts: () => counts,
    recent: () => recent,
    forget() {
      counts = { ...none }
      recent = []
    },
  }
}
