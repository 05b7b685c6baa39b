/** A circuit breaker for one offer: after repeated failures it is left alone for a while, then tried once. */
import { DurableObject } from 'cloudflare:workers'
import type { Reason } from './failures.ts'

/** Failures in a row that open it; what only the operator can mend opens it at once. */
const THRESHOLD = 5
/** Milliseconds that it stays open, and between trials after that. */
const PAUSE = 30_000

export class Breaker extends DurableObject {
  // Lost with an eviction, which costs a few failed calls.
  private failures = 0
  private openUntil = 0
  private reason: Reason | undefined

  /** Whether the offer may be asked now; after a pause one caller at a time is the trial. */
  admits(): boolean {
    if (this.failures < THRESHOLD) return true
    const now = Date.now()
    if (now < this.openUntil) return false
    this.openUntil = now + PAUSE
    return true
  }

  report({ succeeded, fault }: { succeeded: boolean; fault?: Reason }): void {
    const before = this.failures
    this.failures = succeeded ? 0 : fault ? THRESHOLD : before + 1
    this.reason = fault
    if (before < THRESHOLD && this.failures >= THRESHOLD) this.openUntil = Date.now() + PAUSE
  }

  /** What the operator should mend, if that is why it is open. */
  fault(): Reason | null {
    return this.failures >= THRESHOLD ? (this.reason ?? null) : null
  }
}
