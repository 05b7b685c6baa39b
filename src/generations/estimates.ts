/** When jobs will probably end: `app.forecast` (migrations/0006_estimates.sql) knows it from how long others took. */
import { type SQL, sql } from 'drizzle-orm'
import type { generations } from '../db/schema.ts'
import { hasEnded } from '../words.ts'
import { runningLimit } from '../workspaces/quotas.ts'

type Generation = typeof generations.$inferSelect

/** How long it takes depends on the model, and on how much is wanted of it. */
export const sizeOf = ({ duration, count }: { duration: number | null; count: number }) => duration ?? count

interface Kind {
  model: string
  size: number
}

/** SQL: seconds until a job that has not been accepted yet would start and end, at 50, 90 and 95 %. */
export const forecast = ({ model, size }: Kind): SQL =>
  sql`app.forecast(app.workspace_id(), ${model}, ${size}::int, null, null, ${runningLimit}::int)`

/** Percent by time alone, for what says nothing of its progress. */
export const progressByTime = ({ startedAt, eta }: Pick<Generation, 'startedAt' | 'eta'>): number => {
  const [probably] = eta ?? []
  if (!startedAt || !probably) return 0
  const whole = probably.getTime() - startedAt.getTime()
  return Math.floor(Math.min(95, (100 * (Date.now() - startedAt.getTime())) / Math.max(1, whole)))
}

/** As callers read it, of an open job; what still runs has not ended before now. */
export const etaOf = ({ status, eta }: Pick<Generation, 'status' | 'eta'>) => {
  const [p50, p90] = eta ?? []
  if (hasEnded(status) || !p50 || !p90) return undefined
  const earliest = status === 'running' ? Date.now() : 0
  const toText = (time: Date) => new Date(Math.max(earliest, time.getTime())).toISOString()
  return { p50: toText(p50), p90: toText(p90) }
}
