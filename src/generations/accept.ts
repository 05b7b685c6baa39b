/** Accepting jobs: from a request, or again from one that failed or was canceled. */
import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { reserve } from '../credits/ledger.ts'
import { type Database, ensure } from '../db/client.ts'
import { generations } from '../db/schema.ts'
import { exists, first } from '../db/sql.ts'
import { AppError, invalidField, toAppError } from '../errors.ts'
import { checkTarget } from '../webhooks/targets.ts'
import type { Style } from '../words.ts'
import { counted, fitsStorage, queuedLimit } from '../workspaces/quotas.ts'
import { changeGeneration } from './changes.ts'
import { type GenerationWithOutputs, oneGeneration, withPosition } from './generations.ts'
import { type Idempotency, idFor, isRepeated, keepAnswer, replayOf } from './idempotency.ts'
import { findModel, type Model, models } from './models.ts'

export interface GenerationRequest {
  kind: Model['kind']
  prompt?: string | undefined
  style?: Style | undefined
  model?: string | undefined
  inputAssetIds: string[]
  count: number
  aspectRatio: Model['inputs']['aspectRatios'][number]
  seed?: number | undefined
  durationSeconds?: number | undefined
  webhookUrl?: string | undefined
}

const chooseModel = (request: GenerationRequest): Model => {
  const model = findModel(request.kind, request.model)
  if (!model) throw invalidField('/model', `is no ${request.kind} model of the catalogue`)
  const { maxCount, maxInputAssets } = model.inputs
  if (request.count > maxCount) throw invalidField('/count', `is more than this model's ${maxCount}`)
  if (request.inputAssetIds.length > maxInputAssets) {
    throw invalidField('/inputAssetIds', `are more than this model's ${maxInputAssets}`)
  }
  if (model.inputs.maxDuration === null && request.durationSeconds !== undefined) {
    throw invalidField('/durationSeconds', 'is for videos only')
  }
  if (request.durationSeconds && request.durationSeconds > (model.inputs.maxDuration ?? 0)) {
    throw invalidField('/durationSeconds', `is more than this model's ${model.inputs.maxDuration}`)
  }
  if (!model.inputs.aspectRatios.includes(request.aspectRatio)) {
    throw invalidField('/aspectRatio', 'is not offered by this model')
  }
  return model
}

/** How long a job may stand in line. */
const TIME_IN_LINE = sql`interval '1 day'`
/** Seconds of a video that says nothing else. */
const DEFAULT_DURATION = 5

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

const answer = (
  id: string,
  idempotency: Idempotency | undefined,
  { earlier, rows }: Awaited<ReturnType<typeof changeGeneration<ReturnType<typeof accept>>>>,
): Accepted => {
  const replay = replayOf(id, idempotency, earlier)
  return { generation: replay ?? { ...first(rows), outputs: [] }, replayed: replay !== undefined }
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
  const model = chooseModel(request)
  if (request.webhookUrl !== undefined) checkTarget(ctx.env, request.webhookUrl, '/webhookUrl')
  const id = uuidv7()
  const accepted = await changeGeneration(ctx, id, (db) => ({
    inserted: db
      .insert(generations)
      .values({
        id: idFor(id, idempotency),
        kind: request.kind,
        model: model.id,
        prompt: request.prompt ?? null,
        style: request.style ?? null,
        aspectRatio: request.aspectRatio,
        count: request.count,
        seed: request.seed ?? null,
        duration: model.inputs.maxDuration === null ? null : (request.durationSeconds ?? DEFAULT_DURATION),
        inputAssetIds: request.inputAssetIds,
        outputAssetIds: Array.from({ length: request.count }, () => uuidv7()),
        webhookUrl: request.webhookUrl ?? null,
        deadline: model.deadline,
        deadlineAt: sql`now() + ${TIME_IN_LINE}`,
        creditsReserved: model.credits,
      })
      .onConflictDoNothing(),
    inputs: ensure(
      db,
      sql`not exists (select from generations where ${oneGeneration(id)}) or ${inputsAreReady(request.inputAssetIds)}`,
      'not_found',
    ),
    ...accept(db, id, idempotency),
  })).catch((thrown: unknown) => {
    throw ctx.gate !== 'refused' && toAppError(thrown).code === 'not_found' ? missingInput(thrown) : thrown
  })
  return answer(id, idempotency, accepted)
}

const missingInput = (cause: unknown) =>
  new AppError('not_found', {
    cause,
    errors: [
      { pointer: '/inputAssetIds', message: 'names what is no image of this workspace, or not complete yet' },
    ],
  })

/** SQL: the catalogue, as rows of `today`. */
const catalogue = sql`(values ${sql.join(
  models.map(({ id, kind, credits, deadline }) => sql`(${id}, ${kind}, ${credits}::int, ${deadline}::int)`),
  sql`, `,
)}) today (model, kind, credits, deadline)`

/**
 * The same again as a new job, linked to the old one, at today's price.
 * @throws {AppError} not_found, not_retryable, insufficient_credits, storage_quota_exceeded, plan_limit_reached, idempotency_key_reused
 */
export const retryGeneration = async (
  ctx: Ctx,
  originalId: string,
  idempotency?: Idempotency,
): Promise<Accepted> => {
  const id = uuidv7()
  const original = sql`select from generations where ${oneGeneration(originalId)}`
  const isOver = sql`status in ('failed', 'canceled')`
  const isOffered = sql`(model, kind) in (select model, kind from ${catalogue})`
  const accepted = await changeGeneration(ctx, id, (db) => ({
    found: ensure(db, sql`exists (${original})`, 'not_found'),
    retryable: ensure(
      db,
      sql`${isRepeated(idempotency)} or exists (${original} and ${isOver} and ${isOffered})`,
      'not_retryable',
    ),
    inserted: db.execute(sql`
      insert into generations (id, kind, model, prompt, style, aspect_ratio, count, seed, duration, webhook_url, retry_of,
        input_asset_ids, output_asset_ids, deadline, deadline_at, credits_reserved)
      select ${idFor(id, idempotency)}, kind, model, prompt, style, aspect_ratio, count, seed, duration, webhook_url, id,
        input_asset_ids, array(select app.uuid_v7() from generate_series(1, count)), today.deadline, now() + ${TIME_IN_LINE},
        today.credits
        from generations join ${catalogue} using (model, kind) where ${oneGeneration(originalId)}
      on conflict do nothing`),
    ...accept(db, id, idempotency),
  }))
  return answer(id, idempotency, accepted)
}

/** SQL condition: all of these are images of the workspace, complete. */
const inputsAreReady = (ids: string[]) =>
  sql`(select count(*) from assets where workspace_id = (select app.workspace_id()) and id = any(${sql.param(ids)}::uuid[])
        and kind = 'image' and status = 'ready') = ${ids.length}`
