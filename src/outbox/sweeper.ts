/**
 * The sweeper: one object that looks after what is owed. It asks the database often while others use it, and else only
 * when something is due, so that a database that nobody uses can sleep.
 */
import { DurableObject } from 'cloudflare:workers'
import { log } from '../context.ts'
import { parseEnv, type RawEnv } from '../env.ts'
import { describeError } from '../errors.ts'
import type { Sweeping, Walk, WalkReport } from './messages.ts'
import { SILENCE } from './use.ts'

/** Milliseconds between sweeps while the database is in use. */
const PAUSE = 15_000
/** Where much is due, each at another moment; and what is due by now somebody holds. */
const LEAST_PAUSE = 5000
/** Milliseconds after which a transaction has ended in any case, with some for the way and the clocks. */
const LONGEST_TRANSACTION = 15_000
/** So many at a time, `inUseUntil` is put off: one write for many who tell of their use. */
const STEP = 10_000
/** Milliseconds between two looks at what is not owed to anybody. */
const UPKEEP = 60_000
/** Milliseconds after the last use for which readiness asks the database itself. */
const WATCHED = 60_000
/** Milliseconds for which it is believed to be as well as it was: cron, every hour, renews that. */
const BELIEVED = 70 * 60_000
/** Milliseconds between the beginnings of two walks through storage. */
const WALK_EVERY = 24 * 3_600_000
/** Milliseconds for which whoever takes the walk, or keeps it, has it. */
const WALK_HELD = 60_000

/** Stored. */
interface Walks {
  /** Milliseconds: the first walk comes a day later. */
  since: number
  turn: number
  heldUntil: number
  walk: Walk | null
  report: WalkReport | null
}

export class Sweeper extends DurableObject implements Sweeping {
  /** Milliseconds: a transaction that nobody has told of may be committed until then. Stored. */
  private inUseUntil: number
  /** Under way. */
  private upkeep: Promise<void> | undefined
  private keptUpAt = 0
  /** When the database was last well, in milliseconds. Stored. */
  private wellAt: number | undefined

  constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
    super(ctx, env)
    // An object that knows nothing takes the database for used.
    this.inUseUntil = ctx.storage.kv.get<number>('inUseUntil') ?? Date.now()
    this.wellAt = ctx.storage.kv.get<number>('wellAt')
  }

  async noteUse(): Promise<void> {
    const now = Date.now()
    const until = Math.ceil((now + SILENCE + LONGEST_TRANSACTION) / STEP) * STEP
    if (until > this.inUseUntil) {
      this.inUseUntil = until
      this.ctx.storage.kv.put('inUseUntil', until)
    }
    await this.wakeAt(now + PAUSE)
  }

  async noteSweep(dueIn: number | undefined): Promise<void> {
    if (this.wellAt !== undefined && Date.now() < this.wellAt + BELIEVED) this.noteWell()
    await this.noteDue(dueIn)
  }

  noteWell(): void {
    const now = Date.now()
    // One write for many who ask.
    if (this.wellAt !== undefined && now < this.wellAt + UPKEEP) return
    this.wellAt = now
    this.ctx.storage.kv.put('wellAt', now)
  }

  lastWell(): number | null {
    const now = Date.now()
    const sleeps = now > this.inUseUntil + WATCHED
    return sleeps && this.wellAt !== undefined && now < this.wellAt + BELIEVED ? this.wellAt : null
  }

  takeWalk(): { turn: number; walk: Walk | null } | null {
    const now = Date.now()
    const walks = this.walks()
    const { report, since, walk } = walks
    const isDue = walk !== null || now >= (report?.startedAt ?? since) + WALK_EVERY
    if (!isDue || now < walks.heldUntil) return null
    const turn = walks.turn + 1
    this.keepWalks({ ...walks, turn, heldUntil: now + WALK_HELD })
    return { turn, walk }
  }

  keepWalk(turn: number, walk: Walk | WalkReport): boolean {
    const walks = this.walks()
    if (turn !== walks.turn) return false
    const kept = 'isTrusted' in walk ? { walk: null, report: walk } : { walk }
    this.keepWalks({ ...walks, ...kept, heldUntil: Date.now() + WALK_HELD })
    return true
  }

  leaveWalk(turn: number): void {
    const walks = this.walks()
    if (turn === walks.turn) this.keepWalks({ ...walks, heldUntil: 0 })
  }

  lastWalk(): WalkReport | null {
    return this.walks().report
  }

  private walks(): Walks {
    const known = this.ctx.storage.kv.get<Walks>('walks')
    if (known) return known
    const walks = { since: Date.now(), turn: 0, heldUntil: 0, walk: null, report: null }
    this.keepWalks(walks)
    return walks
  }

  private keepWalks(walks: Walks): void {
    this.ctx.storage.kv.put('walks', walks)
  }

  override async alarm(): Promise<void> {
    const started = Date.now()
    const isLast = started >= this.inUseUntil
    // `as`: bindings and settings are the Worker's.
    const run = async () => parseEnv(this.env as RawEnv)
    const id = `sweep-${started}`
    const [{ sweepOutbox }, { keepUp }] = await Promise.all([import('./outbox.ts'), import('../upkeep.ts')])
    if (isLast || started >= this.keptUpAt + UPKEEP) {
      this.keptUpAt = started
      // Not awaited, as the next alarm waits for the end of this one. If the object goes meanwhile, cron does the rest.
      this.upkeep ??= run()
        .then((env) => keepUp(env, id))
        .catch((error: unknown) => {
          log({ level: 'error', message: 'upkeep failed', error: describeError(error) })
          return true
        })
        .then(async (isUnfinished) => {
          this.upkeep = undefined
          if (isUnfinished) await this.wakeAt(Date.now() + PAUSE)
        })
    }
    let isSwept = true
    try {
      await this.noteDue(await sweepOutbox(await run(), id))
    } catch (error) {
      // An alarm that throws would not be tried for long.
      isSwept = false
      log({ level: 'error', message: 'sweep failed', error: describeError(error) })
      // Readiness has to see for itself.
      this.wellAt = undefined
      this.ctx.storage.kv.delete('wellAt')
    }
    if (!isLast || !isSwept) await this.wakeAt(Date.now() + PAUSE)
  }

  private async noteDue(dueIn: number | undefined): Promise<void> {
    if (dueIn !== undefined) await this.wakeAt(Date.now() + Math.max(LEAST_PAUSE, dueIn))
  }

  private async wakeAt(time: number): Promise<void> {
    const planned = await this.ctx.storage.getAlarm()
    if (planned === null || time < planned) await this.ctx.storage.setAlarm(time)
  }
}
