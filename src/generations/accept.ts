/** Accepting jobs: from a request, or again from one that failed or was canceled; and what they would cost. */
import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { MAX_ORIGINAL, MAX_PIXELS } from '../assets/images.ts'
import { MAX_SIDE } from '../assets/inputs.ts'
import { findUsable, type UsableModel } from '../catalogue/catalogue.ts'
import { creditsOf, misfitOf, nearestOf, type Wish } from '../catalogue/input.ts'
import type { Offer } from '../catalogue/schema.ts'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { generations } from '../db/schema.ts'
import { first, rowOf } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { AppError, invalidField, toAppError } from '../errors.ts'
import type { Idempotency } from '../idempotency.ts'
import { allowances } from '../plans.ts'
import { checkTarget } from '../webhooks/targets.ts'
import { type AspectRatio, kindOf, type Style, type Task } from '../words.ts'
import { counted, fitsStorage, grantedCredits, queuedLimit } from '../workspaces/quotas.ts'
import { changeGeneration, type Json } from './changes.ts'
import { forecast, sizeOf } from './estimates.ts'
import { type GenerationWithOutputs, getGeneration } from './generations.ts'

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
    throw invalidField(named, 'cannot be served now: GET /api/v1/models lists what can')
  }
  const { model, offers } = found
  if (request.count > model.maxCount) throw invalidField('/count', `must be at most ${model.maxCount}`)
  const wish = wishOf(request)
  const [offer, ...others] = offers.filter((one) => misfitOf(one, wish) === undefined)
  if (!offer) {
    const misfit = nearestOf(offers, wish)
    throw invalidField(`/${misfit?.field}`, misfit?.message ?? 'is nothing that this model can do')
  }
  const credits = creditsOf(offer, wish)
  if (request.maxCredits !== undefined && credits > request.maxCredits) {
    throw tooDear(credits)
  }
  return { model, offers: [offer, ...others], credits }
}

interface Accepted {
  generation: GenerationWithOutputs
  /** An earlier request with the same idempotency key made it. */
  replayed: boolean
}

const insert = async (
  ctx: Ctx,
  request: GenerationRequest,
  idempotency: Idempotency | undefined,
  retryOf?: string,
): Promise<Accepted> => {
  const { model, offers, credits } = planFor(ctx.env, request)
  const id = uuidv7()
  const row = {
    task: request.task,
    kind: kindOf(request.task),
    model: model.id,
    prompt: request.prompt,
    text: request.text,
    style: request.style,
    aspect_ratio: request.aspectRatio,
    count: request.count,
    seed: request.seed,
    duration: request.durationSeconds,
    input_asset_ids: request.inputAssetIds,
    webhook_url: request.webhookUrl,
    retry_of: retryOf ?? null,
    deadline: model.deadline,
    credits_reserved: credits,
  }
  const { made, request_hash, body } = await changeGeneration<AcceptedRow>(ctx, 'accept', {
    id,
    request: row,
    photos: limitsOf(offers),
    plans: allowances,
    key: idempotency?.key,
    hash: idempotency?.requestHash,
  }).catch((thrown: unknown) => {
    throw ctx.gate === 'refused' ? thrown : ofInputs(thrown, offers)
  })
  if (!made && request_hash !== idempotency?.requestHash) throw new AppError('idempotency_key_reused')
  return {
    generation: { ...rowOf(generations, body), position: body.position, outputs: [] },
    replayed: !made,
  }
}

/** A type and no interface, so that it fits what a statement's rows may be. */
type AcceptedRow = {
  made: boolean
  request_hash: string | null
  body: Json & { position: number | null }
}

/** What SQL refuses about inputs, with the field and what it should be. */
const ofInputs = (thrown: unknown, offers: Plan['offers']): unknown => {
  const { code } = toAppError(thrown)
  const isOfInputs = code === 'not_found' || (code === 'validation_failed' && !(thrown instanceof AppError))
  return isOfInputs ? inputsRefused(code, offers, thrown) : thrown
}

const inputsRefused = (
  code: 'not_found' | 'validation_failed',
  offers: Plan['offers'],
  cause?: unknown,
): AppError => {
  const refuse = (message: string) =>
    new AppError(code, { cause, errors: [{ pointer: '/inputAssetIds', message }] })
  if (code === 'not_found') return refuse('names what is no image of this workspace, or not complete yet')
  const most = `of at most ${MAX_ORIGINAL / 1e6} MB and ${MAX_PIXELS / 1e6} megapixels`
  const side = leastSideOf(offers)
  const least = `, and for this model at least ${side} pixels high and wide when it is scaled to ${MAX_SIDE}`
  return refuse(`must be ${most}${side > 1 ? least : ''}`)
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
  return insert(ctx, request, idempotency)
}

const PHOTO_IS_GONE = 'A photo of it has been deleted: ask for a new generation with another one.'

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
  const request = { ...original, durationSeconds: original.duration }
  return insert(ctx, request, idempotency, originalId).catch((thrown: unknown) => {
    if (ctx.gate === 'refused') throw thrown
    // Of inputs, since the job itself was found.
    if (thrown instanceof AppError && thrown.code === 'not_found') {
      throw new AppError('not_retryable', { detail: PHOTO_IS_GONE, cause: thrown })
    }
    // What the model could do then, it can't do now.
    throw thrown instanceof AppError && thrown.code === 'validation_failed'
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
  const { rows } = await transact(ctx, (db) => ({
    rows: db.execute<{
      remaining: string | null
      misfit: 'not_found' | 'validation_failed' | null
      has_room: boolean
      is_in_line: boolean
      starts: number[] | null
      ends: number[] | null
    }>(sql`
      select ${grantedCredits} - ${counted.reserved} - ${counted.charged} - ${credits}::int remaining,
             app.misfit(app.workspace_id(), ${sql.param(request.inputAssetIds)}::uuid[], ${JSON.stringify(limitsOf(offers))}) misfit,
             ${fitsStorage(1)} has_room, ${counted.queued} < ${queuedLimit} is_in_line, f.starts, f.ends
        from ${forecast({ model: model.id, size: sizeOf(wishOf(request)) })} f`),
  }))
  const row = first(rows.rows)
  const remainingAfter = row.remaining === null ? null : Number(row.remaining)
  const problems = [
    row.misfit === null || inputsRefused(row.misfit, offers),
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

const leastSideOf = (offers: readonly Offer[]) =>
  Math.min(...offers.map(({ input: { photos } }) => photos?.minSide ?? 1))

/** As `app.misfit` takes them: photos that can be prepared, and that one of the offers takes so. */
const limitsOf = (offers: readonly Offer[]) => ({
  size: MAX_ORIGINAL,
  pixels: MAX_PIXELS,
  side: MAX_SIDE,
  leastSide: leastSideOf(offers),
})
