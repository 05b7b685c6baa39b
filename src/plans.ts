/** What each plan includes; null is unlimited. Two limits the database itself holds, too (`migrations/0002_gate.sql`). */
import type { Plan } from './words.ts'

interface Allowance {
  /** Per calendar month (UTC). */
  credits: number | null
  /** Bytes. */
  storage: number
  members: number | null
  /** Generations that may run at the same time. */
  running: number
  /** Generations that may wait in line. */
  queued: number
  webhookEndpoints: number
  apiKeys: number
}

/** Workspaces on the free plan that one person may own. */
export const MAX_FREE_WORKSPACES = 10

const GIB = 1024 ** 3

export const allowances: Record<Plan, Allowance> = {
  free: {
    credits: 50,
    storage: GIB,
    members: 5,
    running: 2,
    queued: 100,
    webhookEndpoints: 10,
    apiKeys: 100,
  },
  pro: {
    credits: 1000,
    storage: 100 * GIB,
    members: 25,
    running: 8,
    queued: 1000,
    webhookEndpoints: 10,
    apiKeys: 100,
  },
  enterprise: {
    credits: null,
    storage: 5000 * GIB,
    members: null,
    running: 32,
    queued: 10_000,
    webhookEndpoints: 10,
    apiKeys: 100,
  },
}
