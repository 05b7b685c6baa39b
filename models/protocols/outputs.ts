/** Keeps the finished files for a while, in memory, the way replicate.delivery forgets them after an hour. */

const maxPredictions = 2_000
const maxBytes = 1024 * 1024 * 1024

/** Milliseconds. */
export const outputLife = 60 * 60 * 1000

export interface Outputs {
  keep(id: string, files: Uint8Array[], lifeMs: number): void
  get(id: string, index: number): Uint8Array | undefined
  all(id: string): Uint8Array[]
  drop(id: string): void
}

export function createOutputs(): Outputs {
  const kept = new Map<string, { files: Uint8Array[]; bytes: number; until: number }>()
  let total = 0
  const isExpired = ({ until }: { until: number }): boolean => until < Date.now()

  const drop = (id: string): void => {
    total -= kept.get(id)?.bytes ?? 0
    kept.delete(id)
  }

  return {
    keep(id, files, lifeMs) {
      const bytes = files.reduce((sum, file) => sum + file.byteLength, 0)
      kept.set(id, { files, bytes, until: Date.now() + lifeMs })
      total += bytes
      for (const [oldest, entry] of kept) {
        if (!isExpired(entry) && kept.size <= maxPredictions && total <= maxBytes) break
        drop(oldest)
      }
    },
    get(id, index) {
      const entry = kept.get(id)
      return entry && !isExpired(entry) ? entry.files[index] : undefined
    },
    all: (id) => kept.get(id)?.files ?? [],
    drop,
  }
}
