/** Accepting jobs: from a request, or again from one that failed or was canceled; and what they would cost. */
import { type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { findUsable, type UsableModel } from '../catalogue/catalogue.ts'
import { creditsOf, misfitOf, type Wish } from '../catalogue/input.ts'
import type { Offer } from '../catalogue/schema.ts'
import type { Ctx } from '../context.ts'
import { reserve } from '../credits/ledger.ts'
import { type Database, ensure, transact } from '../db/client.ts'
import { generations } from '../db/schema.ts'
import { exists, first } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { AppError, invalidField, toAppError } from '../errors.ts'
import { checkTarget } from '../webhooks/targets.ts'
import { type AspectRatio, kindOf, type Style, type Task } from '../words.ts'
import { counted, fitsStorage, grantedCredits, queuedLimit } from '../workspaces/quotas.ts'
import { changeGeneration } from './changes.ts'
import { etaInLine, forecast, sizeOf } from './estimates.ts'
import { type GenerationWithOutputs, getGeneration, oneGeneration, withPosition } from './generations.ts'
import { type Idempotency, idFor, isRepeated, keepAnswer, replayOf } from './idempotency.ts'

/** What is asked for; null is for the model to choose. */
export interface GenerationRequest {
  task: Task
  model?: string | undefined
  prompt: string | null
  text: string | null
  style: Style | null
  inputAssetIds: string[]
  count: number
  aspectRatio: AspectRatio | null
  seed: number | null
  durationSeconds: number | null
  webhookUrl: string | null
  maxCredits?: number | undefined
}

const wishOf = (request: GenerationRequest): Wish => ({
  ...request,
  kind: kindOf(request.task),
  duration: request.durationSeconds,
  photos: request.inputAssetIds.length,
})

interface Plan {
  model: UsableModel['model']
  /** Those that can do all of it. */
  offers: [Offer, ...Offer[]]
  credits: number
}

const tooDear = (credits: number) =>
  invalidField('/maxCredits', `is less than the ${credits} that this costs`)

/** How the request can be done now, and for how much. @throws {AppError} validation_failed, which says what could be */
const planFor = (env: Env, request: GenerationRequest): Plan => {
  const found = findUsable(env, request.task, request.model)
  if (!found) {
    const named = request.model === undefined ? '/task' : '/model'
    throw invalidField(named, `can not be served now: GET /api/v1/models lists what can`)
  }
  const { model, offers } = found
  if (request.count > model.maxCount) throw invalidField('/count', `must be at most ${model.maxCount}`)
  const wish = wishOf(request)
  const misfits = offers.map((offer) => misfitOf(offer, wish))
  const [offer, ...others] = offers.filter((_, i) => misfits[i] === undefined)
  if (!offer) {
    const [misfit] = misfits
    throw invalidField(`/${misfit?.field}`, misfit?.message ?? 'is nothing that this model can do')
  }
  const credits = creditsOf(offer, wish)
  if (request.maxCredits !== undefined && credits > request.maxCredits) {
    throw tooDear(credits)
  }
  return { model, offers: [offer, ...others], credits }
}

/** How long a job may stand in line. */
const TIME_IN_LINE = sql`interval '1 day'`

/** What every new job takes after its row: credits, room, a note of the end of its time in line, and what came of it. */
const accept = (db: Database, id: string, idempotency: Idempotency | undefined) => ({
  ...reserve(db, id),
  // How large the outputs will be, nobody knows yet: there must be room for something.
  room: ensure(
    db,
    sql`not ${exists(generations, oneGeneration(id))} or ${fitsStorage(1)}`,
    'storage_quota_exceeded',
  ),
  line: ensure(
    db,
    sql`not ${exists(generations, oneGeneration(id))} or ${counted.queued} <= ${queuedLimit}`,
    'plan_limit_reached',
  ),
  note: db.execute(sql`
    insert into outbox (kind, subject_id, available_at)
    select 'generation', id, deadline_at from generations where ${oneGeneration(id)}`),
  ...keepAnswer(db, id, idempotency),
  rows: db.select(withPosition).from(generations).where(oneGeneration(id)),
})

interface Accepted {
  generation: GenerationWithOutputs
  /** An earlier request with the same idempotency key made it. */
  replayed: boolean
}

const insert = async (
  ctx: Ctx,
  request: GenerationRequest,
  idempotency: Idempotency | undefined,
  more: { retryOf?: string; unless?: (db: Database) => Record<string, ReturnType<typeof ensure>> },
): Promise<Accepted> => {
  const { model, offers, credits } = planFor(ctx.env, request)
  const id = uuidv7()
  const isNew = exists(generations, oneGeneration(id))
  const { inputAssetIds } = request
  const kindOfWork = { model: model.id, size: sizeOf(wishOf(request)) }
  const accepted = await changeGeneration(ctx, id, (db) => ({
    ...more.unless?.(db),
    inserted: db
      .insert(generations)
      .values({
        id: idFor(id, idempotency),
        task: request.task,
        kind: kindOf(request.task),
        model: model.id,
        prompt: request.prompt,
        text: request.text,
        style: request.style,
        aspectRatio: request.aspectRatio,
        count: request.count,
        seed: request.seed,
        duration: request.durationSeconds,
        inputAssetIds,
        webhookUrl: request.webhookUrl,
        retryOf: more.retryOf ?? null,
        deadline: model.deadline,
        deadlineAt: sql`now() + ${TIME_IN_LINE}`,
        creditsReserved: credits,
        eta: etaInLine(kindOfWork),
      })
      .onConflictDoNothing(),
    inputs: ensure(db, sql`not ${isNew} or ${inputsAreReady(inputAssetIds)}`, 'not_found'),
    fit: ensure(db, sql`not ${isNew} or (${inputsFit(inputAssetIds, offers)})`, 'validation_failed'),
    ...accept(db, id, idempotency),
  })).catch((thrown: unknown) => {
    throw ctx.gate === 'refused' ? thrown : ofInputs(thrown, offers)
  })
  const replay = replayOf(id, idempotency, accepted.earlier)
  return { generation: replay ?? { ...first(accepted.rows), outputs: [] }, replayed: replay !== undefined }
}

/** What SQL refuses about inputs, with the field and what it should be. */
const ofInputs = (thrown: unknown, offers: Plan['offers']): unknown => {
  const { code } = toAppError(thrown)
  const isOfInputs = code === 'not_found' || (code === 'validation_failed' && !(thrown instanceof AppError))
  return isOfInputs ? inputsRefused(code, offers, thrown) : thrown
}

const inputsRefused = (
  code: 'not_found' | 'validation_failed',
  [{ input }]: Plan['offers'],
  cause?: unknown,
): AppError => {
  const refuse = (message: string) =>
    new AppError(code, { cause, errors: [{ pointer: '/inputAssetIds', message }] })
  if (code === 'not_found') return refuse('names what is no image of this workspace, or not complete yet')
  const { types = [], maxBytes, minSide } = input.photos ?? {}
  const kinds = types.map((type) => type.replace('image/', '').toUpperCase()).join(', ')
  const size = maxBytes ? ` of at most ${maxBytes / 1e6} MB` : ''
  return refuse(
    `must be ${kinds}${size}${minSide ? `, at least ${minSide} pixels a side` : ''}, for this model`,
  )
}

/**
 * Accepts a job: reserves its credits, queues it, or finds the job that the same idempotency key made before.
 * @throws {AppError} insufficient_credits, storage_quota_exceeded, plan_limit_reached (the line), not_found (an input), idempotency_key_reused, validation_failed
 */
export const createGeneration = async (
  ctx: Ctx,
  request: GenerationRequest,
  idempotency?: Idempotency,
): Promise<Accepted> => {
  if (request.webhookUrl !== null) checkTarget(ctx.env, request.webhookUrl, '/webhookUrl')
  return insert(ctx, request, idempotency, {})
}

/**
 * The same again as a new job, linked to the old one, at today's price.
 * @throws {AppError} not_found, not_retryable, insufficient_credits, storage_quota_exceeded, plan_limit_reached, idempotency_key_reused
 */
export const retryGeneration = async (
  ctx: Ctx,
  originalId: string,
  idempotency?: Idempotency,
): Promise<Accepted> => {
  const original = await getGeneration(ctx, originalId)
  const isOver = sql`exists (select from generations where ${oneGeneration(originalId)} and status in ('failed', 'canceled'))`
  const request = { ...original, durationSeconds: original.duration }
  return insert(ctx, request, idempotency, {
    retryOf: originalId,
    unless: (db) => ({
      retryable: ensure(db, sql`${isRepeated(idempotency)} or ${isOver}`, 'not_retryable'),
    }),
  }).catch((thrown: unknown) => {
    // What the model could do then, it can't do now.
    throw thrown instanceof AppError && thrown.code === 'validation_failed' && !thrown.cause
      ? new AppError('not_retryable', { cause: thrown })
      : thrown
  })
}

/** Seconds, not exceeded in 50 and in 95 % of cases. */
interface Expectation {
  p50: number
  p95: number
}

export interface Quote {
  model: string
  credits: number
  /** Of the month, once this is reserved: negative if so many are missing; null when unlimited. */
  remainingAfter: number | null
  /** Why it would not be accepted. */
  problem?: AppError | undefined
  /** Absent while too few like it have been measured. */
  startsIn?: Expectation | undefined
  finishesIn?: Expectation | undefined
}

const expectationOf = (seconds: number[] | null): Expectation | undefined => {
  // As `app.forecast` orders them.
  const [p50, , p95] = seconds ?? []
  return p50 === undefined || p95 === undefined ? undefined : { p50: Math.ceil(p50), p95: Math.ceil(p95) }
}

/**
 * What a request would cost now, whether it would be accepted, and when it would start and end; nothing happens.
 * @throws {AppError} validation_failed: it could never be
 */
export const quoteGeneration = async (ctx: Ctx, request: GenerationRequest): Promise<Quote> => {
  const { maxCredits, ...rest } = request
  const { model, offers, credits } = planFor(ctx.env, rest)
  if (request.webhookUrl !== null) checkTarget(ctx.env, request.webhookUrl, '/webhookUrl')
  const { inputAssetIds } = request
  const { rows } = await transact(ctx, (db) => ({
    rows: db.execute<{
      remaining: string | null
      are_ready: boolean
      fit: boolean
      has_room: boolean
      is_in_line: boolean
      starts: number[] | null
      ends: number[] | null
    }>(sql`
      select ${grantedCredits} - ${counted.reserved} - ${counted.charged} - ${credits}::int remaining,
             ${inputsAreReady(inputAssetIds)} are_ready, ${inputsFit(inputAssetIds, offers)} fit,
             ${fitsStorage(1)} has_room, ${counted.queued} < ${queuedLimit} is_in_line, f.starts, f.ends
        from ${forecast({ model: model.id, size: sizeOf(wishOf(request)) })} f`),
  }))
  const row = first(rows.rows)
  const remainingAfter = row.remaining === null ? null : Number(row.remaining)
  const problems = [
    row.are_ready || inputsRefused('not_found', offers),
    row.fit || inputsRefused('validation_failed', offers),
    (maxCredits ?? credits) >= credits || tooDear(credits),
    (remainingAfter ?? 0) >= 0 || new AppError('insufficient_credits'),
    row.has_room || new AppError('storage_quota_exceeded'),
    row.is_in_line || new AppError('plan_limit_reached'),
  ]
  return {
    model: model.id,
    credits,
    remainingAfter,
    problem: problems.find((problem) => problem !== true),
    startsIn: expectationOf(row.starts),
    finishesIn: expectationOf(row.ends),
  }
}

/** SQL condition: all of these are images of the workspace, complete. */
const inputsAreReady = (ids: string[]) =>
  sql`(select count(*) from assets where workspace_id = (select app.workspace_id()) and id = any(${sql.param(ids)}::uuid[])
        and kind = 'image' and status = 'ready') = ${ids.length}`

/** SQL condition: one of the offers takes all of them. */
const inputsFit = (ids: string[], offers: readonly Offer[]): SQL =>
  ids.length === 0
    ? sql`true`
    : sql.join(
        offers.map(
          ({ input: { photos } }) => sql`not exists (
            select from assets where workspace_id = (select app.workspace_id()) and id = any(${sql.param(ids)}::uuid[])
               and not (mime_type = any(${sql.param(photos?.types ?? [])}::text[])
                 and size <= ${photos?.maxBytes ?? Number.MAX_SAFE_INTEGER}::bigint
                 and coalesce(least(width, height), 0) >= ${photos?.minSide ?? 0}::int))`,
        ),
        sql` or `,
      )
