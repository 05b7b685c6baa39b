/** A circuit breaker for one offer, or one host of a workspace's webhooks: after repeated failures it is left alone for a while, then tried once. */
import { DurableObject } from 'cloudflare:workers'
import type { Reason } from './failures.ts'

/** Failures in a row that open it; what only the operator can mend opens it at once. */
const THRESHOLD = 5
/** Milliseconds that it stays open, and between trials after that. */
const PAUSE = 30_000
/** Milliseconds that it stays open, and a fault is told of, when nobody asks any more: hosts are without number. */
const MEMORY = 24 * 3600 * 1000

interface State {
  /** In a row. */
  failures: number
  /** Milliseconds. */
  openUntil: number
  /** What only the operator can mend. */
  reason?: Reason | undefined
}

export interface Asking {
  plans?: boolean
  early?: boolean | undefined
}

export class Breaker extends DurableObject {
  /** Stored while it is open; failures before that are lost with an eviction, which costs a few failed calls. */
  private state: State

  constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
    super(ctx, env)
    this.state = ctx.storage.kv.get<State>('state') ?? { failures: 0, openUntil: 0 }
  }

  private get isOpen() {
    return this.state.failures >= THRESHOLD
  }

  private save(): void {
    if (this.isOpen) {
      this.ctx.storage.kv.put('state', this.state)
      void this.ctx.storage.setAlarm(this.state.openUntil + MEMORY)
    } else this.ctx.storage.kv.delete('state')
  }

  override async alarm() {
    this.state = { failures: 0, openUntil: 0 }
    await this.ctx.storage.deleteAll()
  }

  /**
   * Whether the offer may be asked now; after a pause one caller at a time is the trial. Whoever only plans to ask is
   * none, and asks again before the call; whoever is early, and may never call, waits for it to close. `failures`: in a row;
   * while there are none, a success says nothing new.
   */
  admits({ plans = false, early = false }: Asking = {}): { admitted: boolean; failures: number } {
    const { failures } = this.state
    if (!this.isOpen) return { admitted: true, failures }
    const now = Date.now()
    if (early || now < this.state.openUntil) return { admitted: false, failures }
    if (!plans) {
      this.state.openUntil = now + PAUSE
      this.save()
    }
    return { admitted: true, failures }
  }

  report({ succeeded, fault }: { succeeded: boolean; fault?: Reason }): void {
    const wasOpen = this.isOpen
    const { failures, openUntil } = this.state
    this.state = {
      failures: succeeded ? 0 : fault ? THRESHOLD : failures + 1,
      openUntil,
      ...(fault && { reason: fault }),
    }
    if (this.isOpen && !wasOpen) this.state.openUntil = Date.now() + PAUSE
    if (wasOpen || this.isOpen) this.save()
  }

  /** What the operator should mend, if that is why it is open: until a call succeeds, or a day without any. */
  fault(): Reason | null {
    const { reason, openUntil } = this.state
    return this.isOpen && reason && Date.now() < openUntil + MEMORY ? reason : null
  }
}
