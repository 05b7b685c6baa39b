/** The rate limiter: a token bucket per policy and subject, exact because each is one Durable Object. */
import { DurableObject } from 'cloudflare:workers'

export interface Take {
  /** Requests per period, before the plan's factor. */
  limit: number
  /** Seconds. */
  period: number
  /** The plan's multiple of the limit; default 1. */
  factor?: number
  /** Tokens to take; a negative number gives back. */
  cost: number
  /** Tokens to hand out beside, for requests to come, as long as at least half of all are left. */
  lease?: number
}

export interface Taken {
  allowed: boolean
  /** Tokens handed out beside. */
  leased: number
  /** Requests per period, with the factor. */
  limit: number
  remaining: number
  /** Seconds until all tokens are back. */
  resetAfter: number
  /** Seconds until the next request can pass. */
  retryAfter: number
}

interface Bucket {
  /** Tokens taken and not yet back, as of `at`. */
  spent: number
  /** Milliseconds. */
  at: number
  /** Milliseconds, so that the alarm knows when the bucket is full again. */
  period: number
}

/** Milliseconds whose tokens an eviction may cost. */
const AHEAD = 10_000

export class RateLimiter extends DurableObject {
  private bucket: Bucket | undefined
  /** What is stored, and so survives an eviction: never less spent than was. */
  private saved: Bucket | undefined

  constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
    super(ctx, env)
    this.saved = ctx.storage.kv.get<Bucket>('bucket')
    this.bucket = this.saved && { ...this.saved }
  }

  take({ limit, period, factor = 1, cost, lease = 0 }: Take): Taken {
    const now = Date.now()
    const capacity = limit * factor
    const perMillisecond = capacity / (period * 1000)
    const spentNow = (bucket: Bucket | undefined) =>
      bucket ? Math.max(0, bucket.spent - Math.max(0, now - bucket.at) * perMillisecond) : 0

    const before = spentNow(this.bucket)
    const allowed = cost <= 0 || before + cost <= capacity
    const taken = allowed ? Math.max(0, before + cost) : before
    const leased = Math.min(lease, Math.max(0, Math.floor(capacity / 2 - taken)))
    const spent = taken + leased
    this.bucket = { spent, at: now, period: period * 1000 }
    // So much ahead that most requests write nothing and an eviction forgets none, nor costs more than comes back soon.
    const ahead = Math.floor(Math.min(capacity / 10, perMillisecond * AHEAD))
    const saved = spentNow(this.saved)
    if (spent > saved || (cost < 0 && saved > spent + ahead)) {
      this.save({ ...this.bucket, spent: Math.min(capacity, spent + ahead) })
    }
    return {
      allowed,
      leased,
      limit: capacity,
      remaining: Math.floor(capacity - spent),
      resetAfter: Math.ceil(spent / perMillisecond / 1000),
      retryAfter: allowed ? 0 : Math.max(1, Math.ceil((spent + cost - capacity) / perMillisecond / 1000)),
    }
  }

  /** Forgets a bucket that is full again. */
  override async alarm() {
    const { saved } = this
    if (!saved) return
    const fullAt = saved.at + saved.period
    if (Date.now() < fullAt) return this.ctx.storage.setAlarm(fullAt)
    this.bucket = undefined
    this.saved = undefined
    await this.ctx.storage.deleteAll()
  }

  private save(bucket: Bucket) {
    const isFirst = !this.saved
    this.saved = bucket
    this.ctx.storage.kv.put('bucket', bucket)
    if (isFirst) void this.ctx.storage.setAlarm(Date.now() + bucket.period)
  }
}
