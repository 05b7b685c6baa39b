/** Generations as callers see them: create, find, cancel. */
import { hash } from 'node:crypto'
import { and, desc, eq, getTableColumns, inArray, lt, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { reserve, settleCredits } from '../credits/ledger.ts'
import { type Database, ensure, transact } from '../db/client.ts'
import { assets, generationOutputs, generations } from '../db/schema.ts'
import { exists, first, inWorkspace } from '../db/sql.ts'
import { AppError, invalidField } from '../errors.ts'
import { dispatch, settle } from '../outbox/outbox.ts'
import { checkTarget } from '../webhooks/targets.ts'
import type { Style } from '../words.ts'
import { lockWorkspace, runningLimit } from '../workspaces/quotas.ts'
import { changeGeneration } from './changes.ts'
import { findModel, type Model } from './models.ts'

export type Generation = typeof generations.$inferSelect
type Output = { generationId: string; index: number; asset: typeof assets.$inferSelect }
/** With how many of the workspace stand before it in line; null once it is no longer queued. */
type GenerationRow = Generation & { position: number | null }
export type GenerationWithOutputs = GenerationRow & { outputs: Output[] }

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

const withPosition = {
  ...getTableColumns(generations),
  position: sql<
    number | null
  >`case when generations.status = 'queued' then (select count(*)::int from generations ahead
    where ahead.workspace_id = generations.workspace_id and ahead.status = 'queued' and ahead.id < generations.id) end`.as(
    'position',
  ),
}

/** Who is to be woken when a place becomes free. */
export const nextInLine = (db: Database) =>
  db
    .select({ id: generations.id })
    .from(generations)
    .where(and(inWorkspace(generations), eq(generations.status, 'queued')))
    .orderBy(generations.id)
    .limit(1)

/** Sends those who were waiting for a place. */
export const wake = (ctx: Ctx, workspaceId: string, waiting: readonly { id: string }[]): Promise<void> =>
  dispatch(
    ctx,
    waiting.map(({ id }) => ({ kind: 'generation', workspaceId, subjectId: id })),
  )

export const oneGeneration = (id: string) => and(inWorkspace(generations), eq(generations.id, id))

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

/** What every new job takes after its row: credits, a note to run it, and a look at what came of it. */
const accept = (db: Database, id: string, isThis: SQL | undefined) => ({
  ...reserve(db, id),
  note: db.execute(sql`
    insert into outbox (kind, subject_id, available_at)
    select 'generation', id, now() + interval '30 seconds' from generations where ${oneGeneration(id)}`),
  rows: db.select(withPosition).from(generations).where(isThis),
  outputs: selectOutputs(db, isThis),
  room: db.execute<{ free: boolean }>(sql`
    select count(*) <= coalesce(${runningLimit}, count(*)) as free from generations
     where workspace_id = app.workspace_id() and status in ('queued', 'running')`),
})

type Accepted = Awaited<ReturnType<typeof changeGeneration<ReturnType<typeof accept>>>>

/** Tells the feed, and sends the job unless the workspace has no place for it now; whoever ends will. */
const sendOff = async (ctx: Ctx, id: string, requestHash: string, accepted: Accepted) => {
  const { gate, rows, outputs, room } = accepted
  const generation = first(rows)
  if (generation.requestHash !== requestHash) throw new AppError('idempotency_key_reused')
  const replayed = generation.id !== id
  if (!replayed && room.rows[0]?.free) {
    await dispatch(ctx, [{ kind: 'generation', workspaceId: gate.workspaceId, subjectId: id }])
  }
  return { generation: { ...generation, outputs }, replayed }
}

const byKey = (id: string, idempotencyKey: string | undefined) =>
  idempotencyKey === undefined
    ? oneGeneration(id)
    : and(inWorkspace(generations), eq(generations.idempotencyKey, idempotencyKey))

/**
 * Accepts a job: reserves its credits, queues it, or finds the job that the same idempotency key made before.
 * @throws {AppError} insufficient_credits, not_found (an input), idempotency_key_reused, validation_failed
 */
export const createGeneration = async (
  ctx: Ctx,
  request: GenerationRequest,
  idempotencyKey?: string,
): Promise<{ generation: GenerationWithOutputs; replayed: boolean }> => {
  const model = chooseModel(request)
  if (request.webhookUrl) checkTarget(ctx.env, request.webhookUrl, '/webhookUrl')
  const id = uuidv7()
  const requestHash = hash('sha256', JSON.stringify(request))
  const accepted = await changeGeneration(ctx, id, (db) => ({
    lock: lockWorkspace(db),
    inserted: db
      .insert(generations)
      .values({
        id,
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
        idempotencyKey: idempotencyKey ?? null,
        requestHash,
      })
      .onConflictDoNothing({ target: [generations.workspaceId, generations.idempotencyKey] }),
    inputs: ensure(
      db,
      sql`not exists (select from generations where ${oneGeneration(id)}) or ${inputsAreReady(request.inputAssetIds)}`,
      'not_found',
    ),
    ...accept(db, id, byKey(id, idempotencyKey)),
  }))
  return sendOff(ctx, id, requestHash, accepted)
}

/**
 * The same again as a new job, linked to the old one.
 * @throws {AppError} not_found, not_retryable, insufficient_credits, idempotency_key_reused
 */
export const retryGeneration = async (
  ctx: Ctx,
  originalId: string,
  idempotencyKey?: string,
): Promise<{ generation: GenerationWithOutputs; replayed: boolean }> => {
  const id = uuidv7()
  const requestHash = hash('sha256', `retry ${originalId}`)
  const original = sql`select from generations where ${oneGeneration(originalId)}`
  const accepted = await changeGeneration(ctx, id, (db) => ({
    lock: lockWorkspace(db),
    found: ensure(db, sql`exists (${original})`, 'not_found'),
    over: ensure(db, sql`exists (${original} and status in ('failed', 'canceled'))`, 'not_retryable'),
    inserted: db.execute(sql`
      insert into generations (id, kind, model, prompt, style, aspect_ratio, count, seed, duration, webhook_url, retry_of,
        input_asset_ids, output_asset_ids, deadline, deadline_at, credits_reserved, idempotency_key, request_hash)
      select ${id}, kind, model, prompt, style, aspect_ratio, count, seed, duration, webhook_url, id,
        input_asset_ids, array(select app.uuid_v7() from generate_series(1, count)), deadline, now() + ${TIME_IN_LINE},
        credits_reserved, ${idempotencyKey ?? null}, ${requestHash}
        from generations where ${oneGeneration(originalId)}
      on conflict (workspace_id, idempotency_key) do nothing`),
    ...accept(db, id, byKey(id, idempotencyKey)),
  }))
  return sendOff(ctx, id, requestHash, accepted)
}

/** SQL condition: all of these are images of the workspace, complete. */
const inputsAreReady = (ids: string[]) =>
  sql`(select count(*) from assets where workspace_id = app.workspace_id() and id = any(${sql.param(ids)}::uuid[])
        and kind = 'image' and status = 'ready') = ${ids.length}`

/** The outputs of the generations that `where` selects, in order. */
const selectOutputs = (db: Database, where: SQL | undefined) =>
  db
    .select({ generationId: generationOutputs.generationId, index: generationOutputs.index, asset: assets })
    .from(generationOutputs)
    .innerJoin(
      assets,
      and(eq(assets.workspaceId, generationOutputs.workspaceId), eq(assets.id, generationOutputs.assetId)),
    )
    .where(
      and(
        inWorkspace(generationOutputs),
        inArray(
          generationOutputs.generationId,
          db.select({ id: generations.id }).from(generations).where(where),
        ),
      ),
    )
    .orderBy(generationOutputs.index)

export const getGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> => {
  const { rows, outputs } = await transact(ctx, (db) => ({
    rows: db.select(withPosition).from(generations).where(oneGeneration(id)),
    outputs: selectOutputs(db, oneGeneration(id)),
  }))
  return { ...first(rows), outputs }
}

export interface GenerationFilter {
  limit: number
  cursor?: string | undefined
  status?: Generation['status'] | undefined
  kind?: Generation['kind'] | undefined
}

/** `limit + 1` rows, newest first. */
export const listGenerations = async (
  ctx: Ctx,
  filter: GenerationFilter,
): Promise<GenerationWithOutputs[]> => {
  const where = and(
    inWorkspace(generations),
    filter.cursor ? lt(generations.id, filter.cursor) : undefined,
    filter.status ? eq(generations.status, filter.status) : undefined,
    filter.kind ? eq(generations.kind, filter.kind) : undefined,
  )
  const { rows, outputs } = await transact(ctx, (db) => {
    const page = db
      .select(withPosition)
      .from(generations)
      .where(where)
      .orderBy(desc(generations.id))
      .limit(filter.limit + 1)
    return {
      rows: page,
      outputs: selectOutputs(db, sql`${generations.id} in (select id from ${page.as('page')})`),
    }
  })
  const byGeneration = Map.groupBy(outputs, (output) => output.generationId)
  return rows.map((row) => ({ ...row, outputs: byGeneration.get(row.id) ?? [] }))
}

/**
 * Stops a job and gives its credits back; canceling twice is the same as once. A result that arrives later is
 * thrown away by the fence, and the provider is told by a job of its own.
 * @throws {AppError} not_found, already_finished
 */
export const cancelGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> => {
  const canceledNow = sql`exists (select from generations where ${oneGeneration(id)} and status = 'canceled' and completed_at = now())`
  const { gate, rows, next } = await changeGeneration(ctx, id, (db) => ({
    found: ensure(db, exists(generations, oneGeneration(id), 'for update'), 'not_found'),
    canceled: db
      .update(generations)
      .set({ status: 'canceled', completedAt: sql`now()`, leaseExpiresAt: null })
      .where(and(oneGeneration(id), inArray(generations.status, ['queued', 'running']))),
    unfinished: ensure(
      db,
      sql`exists (select from generations where ${oneGeneration(id)} and status = 'canceled')`,
      'already_finished',
    ),
    refunded: settleCredits(db, id, 0, canceledNow),
    settled: settle(db, 'generation', id),
    note: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'prediction.cancel', id, now() + interval '30 seconds' from generations
       where ${oneGeneration(id)} and ${canceledNow} and started_at is not null`),
    // A step under way may still store outputs.
    erasures: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'object.delete', unnest(output_asset_ids), now() + interval '2 minutes' from generations
       where ${oneGeneration(id)} and ${canceledNow} and started_at is not null`),
    rows: db.select(withPosition).from(generations).where(oneGeneration(id)),
    next: nextInLine(db),
  }))
  const generation = first(rows)
  const { workspaceId } = gate
  if (generation.startedAt) {
    await dispatch(ctx, [{ kind: 'prediction.cancel', workspaceId, subjectId: id }])
  }
  await wake(ctx, workspaceId, next)
  return { ...generation, outputs: [] }
}
