/** Generations as callers see them: create, find, cancel. */
import { and, desc, eq, inArray, lt, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { lockWorkspace, reserve, settleCredits } from '../credits/ledger.ts'
import { type Database, require, transact } from '../db/client.ts'
import { assets, generationOutputs, generations } from '../db/schema.ts'
import { AppError, invalidField } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { dispatch, settle } from '../outbox.ts'
import { announce, newEvents } from './events.ts'
import { findModel, type Model } from './models.ts'

export type Generation = typeof generations.$inferSelect
type Output = { generationId: string; index: number; asset: typeof assets.$inferSelect }
export type GenerationWithOutputs = Generation & { outputs: Output[] }

export interface GenerationRequest {
  kind: Model['kind']
  prompt?: string | undefined
  style?: string | undefined
  model?: string | undefined
  inputAssetIds: string[]
  count: number
  aspectRatio: Model['inputs']['aspectRatios'][number]
  seed?: number | undefined
}

const inWorkspace = eq(generations.workspaceId, sql`app.workspace_id()`)
export const oneGeneration = (id: string) => and(inWorkspace, eq(generations.id, id))

const chooseModel = (request: GenerationRequest): Model => {
  const model = findModel(request.kind, request.model)
  if (!model) throw invalidField('/model', `is no ${request.kind} model of the catalogue`)
  const { maxCount, maxInputAssets } = model.inputs
  if (request.count > maxCount) throw invalidField('/count', `is more than this model's ${maxCount}`)
  if (request.inputAssetIds.length > maxInputAssets) {
    throw invalidField('/inputAssetIds', `are more than this model's ${maxInputAssets}`)
  }
  if (!model.inputs.aspectRatios.includes(request.aspectRatio)) {
    throw invalidField('/aspectRatio', 'is not offered by this model')
  }
  return model
}

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
  const id = uuidv7()
  const requestHash = await sha256Hex(JSON.stringify(request))
  const isThis =
    idempotencyKey === undefined
      ? oneGeneration(id)
      : and(inWorkspace, eq(generations.idempotencyKey, idempotencyKey))
  const {
    gate,
    rows: [row],
    outputs,
    events,
  } = await transact(ctx, (db) => ({
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
        inputAssetIds: request.inputAssetIds,
        outputAssetIds: Array.from({ length: request.count }, () => uuidv7()),
        deadlineAt: sql`now() + make_interval(secs => ${model.deadline})`,
        creditsReserved: model.credits,
        idempotencyKey: idempotencyKey ?? null,
        requestHash,
      })
      .onConflictDoNothing({ target: [generations.workspaceId, generations.idempotencyKey] }),
    ...reserve(db, id, model.credits),
    inputs: require(db, sql`not exists ${db.select().from(generations).where(oneGeneration(id))} or ${inputsAreReady(request.inputAssetIds)}`, 'not_found'),
    note: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'generation', id, now() + interval '30 seconds' from generations where ${oneGeneration(id)}`),
    rows: db.select().from(generations).where(isThis),
    outputs: selectOutputs(db, isThis),
    events: newEvents(db, id),
  }))
  const generation = row as Generation
  await announce(ctx, gate.workspaceId, events)
  if (generation.requestHash !== requestHash) throw new AppError('idempotency_key_reused')
  const replayed = generation.id !== id
  if (!replayed) await dispatch(ctx, [{ kind: 'generation', workspaceId: gate.workspaceId, subjectId: id }])
  return { generation: { ...generation, outputs }, replayed }
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
        eq(generationOutputs.workspaceId, sql`app.workspace_id()`),
        inArray(
          generationOutputs.generationId,
          db.select({ id: generations.id }).from(generations).where(where),
        ),
      ),
    )
    .orderBy(generationOutputs.index)

export const getGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> => {
  const {
    rows: [row],
    outputs,
  } = await transact(ctx, (db) => ({
    rows: db.select().from(generations).where(oneGeneration(id)),
    outputs: selectOutputs(db, oneGeneration(id)),
  }))
  if (!row) throw new AppError('not_found')
  return { ...row, outputs }
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
    inWorkspace,
    filter.cursor ? lt(generations.id, filter.cursor) : undefined,
    filter.status ? eq(generations.status, filter.status) : undefined,
    filter.kind ? eq(generations.kind, filter.kind) : undefined,
  )
  const { rows, outputs } = await transact(ctx, (db) => {
    const page = db
      .select()
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
  const {
    gate,
    rows: [row],
    events,
  } = await transact(ctx, (db) => ({
    found: require(db, sql`exists (select from generations where ${oneGeneration(id)} for update)`, 'not_found'),
    canceled: db
      .update(generations)
      .set({ status: 'canceled', completedAt: sql`now()`, leaseExpiresAt: null })
      .where(and(oneGeneration(id), inArray(generations.status, ['queued', 'running']))),
    unfinished: require(db, sql`exists (select from generations where ${oneGeneration(id)} and status = 'canceled')`, 'already_finished'),
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
    rows: db.select().from(generations).where(oneGeneration(id)),
    events: newEvents(db, id),
  }))
  const generation = row as Generation
  await announce(ctx, gate.workspaceId, events)
  if (generation.startedAt) {
    await dispatch(ctx, [{ kind: 'prediction.cancel', workspaceId: gate.workspaceId, subjectId: id }])
  }
  return { ...generation, outputs: [] }
}
