/** A circuit breaker for one provider: after repeated failures it is left alone for a while, then tried once. */
import { DurableObject } from 'cloudflare:workers'

/** Failures in a row that open it. */
const THRESHOLD = 5
/** Milliseconds that it stays open, and between trials after that. */
const PAUSE = 30_000

export class Breaker extends DurableObject {
  // Lost with an eviction, which costs a few failed calls.
  private failures = 0
  private openUntil = 0

  /** Whether the provider may be asked now; after a pause one caller at a time is the trial. */
  admits(): boolean {
    if (this.failures < THRESHOLD) return true
    const now = Date.now()
    if (now < this.openUntil) return false
    this.openUntil = now + PAUSE
    return true
  }

  report(succeeded: boolean): void {
    this.failures = succeeded ? 0 : this.failures + 1
    if (this.failures === THRESHOLD) this.openUntil = Date.now() + PAUSE
  }
}
