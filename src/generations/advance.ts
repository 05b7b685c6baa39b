/** The next step of a generation, whatever woke it; safe to call twice, at once, late or for nothing. */
import { and, eq, inArray, isNull, lte, or, sql } from 'drizzle-orm'
import { MAX_UPLOAD } from '../assets/assets.ts'
import { presignDownload, putObject, type StoredObject } from '../assets/storage.ts'
import type { JobCtx } from '../context.ts'
import { settleCredits } from '../credits/ledger.ts'
import { type Database, require, transact } from '../db/client.ts'
import { assets, type GenerationError, generationOutputs, generations, outbox } from '../db/schema.ts'
import { AppError, describeError, toAppError } from '../errors.ts'
import { dispatch, owe, settle } from '../outbox.ts'
import { readChunks } from '../streams.ts'
import { announce, newEvents } from './events.ts'
import { type Generation, oneGeneration } from './generations.ts'
import { findModel } from './models.ts'
import { type Job, ProviderError } from './providers/provider.ts'
import * as replicate from './providers/replicate.ts'

/** Longer than one step can take; after it another consumer may claim the job. */
const LEASE = sql`interval '60 seconds'`
/** Milliseconds that a step waits for the provider before it hands over to a delayed message. */
const PATIENCE = 2500
/** Seconds until that message. */
const POLL_DELAY = 2
const MAX_ATTEMPTS = 4
/** Times that a missing or broken output is fetched again before the job goes on without it. */
const MAX_OUTPUT_ATTEMPTS = 3
/** Milliseconds without a byte after which an output counts as broken. */
const STALL_TIMEOUT = 10_000

type Asset = typeof assets.$inferSelect
type Claim = Generation & { inputs: Asset[] }
type StoredOutput = { index: number; assetId: string; object: StoredObject }

export const advance = async (ctx: JobCtx, id: string): Promise<void> => {
  const claim = await claimGeneration(ctx, id)
  if (!claim) return
  try {
    if (claim.deadlineAt.getTime() < Date.now()) {
      return await fail(ctx, claim, {
        code: 'deadline_exceeded',
        message: 'The job took too long.',
        retryable: true,
      })
    }
    const submitted = claim.providerJobId ?? (await submit(ctx, claim))
    if (submitted === undefined) return
    const job = await waitFor(ctx, submitted)
    if (job.status === 'running') return await release(ctx, claim, POLL_DELAY, { progress: job.progress })
    if (job.status === 'failed') return await fail(ctx, claim, toGenerationError(job.message))
    await finish(ctx, claim, job)
  } catch (thrown) {
    await recover(ctx, claim, thrown)
  }
}

/** Takes the lease and a new fence, unless the job has finished or somebody holds it. */
const claimGeneration = async (ctx: JobCtx, id: string): Promise<Claim | undefined> => {
  const {
    claimed: [row],
    inputs,
    events,
  } = await transact(ctx, (db) => ({
    claimed: db
      .update(generations)
      .set({
        status: 'running',
        fence: sql`${generations.fence} + 1`,
        // A claim without a provider's job is going to submit one.
        attempts: sql`${generations.attempts} + (${generations.providerJobId} is null)::int`,
        startedAt: sql`coalesce(${generations.startedAt}, now())`,
        leaseExpiresAt: sql`now() + ${LEASE}`,
      })
      .where(
        and(
          oneGeneration(id),
          inArray(generations.status, ['queued', 'running']),
          or(isNull(generations.leaseExpiresAt), lte(generations.leaseExpiresAt, sql`now()`)),
        ),
      )
      .returning(),
    patience: wakeAfter(db, id, sql`${LEASE} + interval '1 second'`),
    inputs: db
      .select()
      .from(assets)
      .where(
        and(
          eq(assets.workspaceId, sql`app.workspace_id()`),
          sql`${assets.id} = any(select unnest(input_asset_ids) from generations where ${oneGeneration(id)})`,
        ),
      ),
    events: newEvents(db, id),
  }))
  await announce(ctx, ctx.workspaceId, events)
  return row && { ...row, inputs }
}

/** When the sweeper should look after the job, if nothing else does. */
const wakeAfter = (db: Database, id: string, delay: ReturnType<typeof sql>) =>
  db
    .update(outbox)
    .set({ availableAt: sql`now() + ${delay}`, sends: 0 })
    .where(and(eq(outbox.kind, 'generation'), eq(outbox.subjectId, id)))

const fenced = (claim: Claim) =>
  and(oneGeneration(claim.id), eq(generations.fence, claim.fence), eq(generations.status, 'running'))

/** Submits once and stores the provider's id before anything else; undefined if the job was canceled meanwhile. */
const submit = async (ctx: JobCtx, claim: Claim): Promise<string | undefined> => {
  if (claim.attempts > MAX_ATTEMPTS) {
    await fail(ctx, claim, {
      code: 'provider_unavailable',
      message: 'The model could not be reached.',
      retryable: true,
    })
    return undefined
  }
  const model = findModel(claim.kind, claim.model)
  const inputs = claim.inputAssetIds.flatMap((id) => claim.inputs.find((asset) => asset.id === id) ?? [])
  if (!model || inputs.length < claim.inputAssetIds.length) {
    const message = model ? 'An input was deleted before the job started.' : 'The model is no longer offered.'
    await fail(ctx, claim, { code: model ? 'input_deleted' : 'model_unavailable', message, retryable: false })
    return undefined
  }
  const job = await replicate.submit(ctx.env, {
    model: model.providerModel,
    prompt: claim.prompt,
    style: claim.style,
    imageUrls: await Promise.all(inputs.map((asset) => presignDownload(ctx.env, asset))),
    aspectRatio: claim.aspectRatio,
    count: claim.count,
    seed: claim.seed,
  })
  const {
    kept: [kept],
  } = await transact(ctx, (db) => ({
    kept: db
      .update(generations)
      .set({ providerJobId: job.id })
      .where(fenced(claim))
      .returning({ id: generations.id }),
  }))
  if (kept) return job.id
  await replicate.cancel(ctx.env, job.id)
  return undefined
}

/** Asks until the provider has finished or the step's patience is over. */
const waitFor = async (ctx: JobCtx, jobId: string): Promise<Job> => {
  const started = Date.now()
  for (let pause = 100; ; pause = Math.min(pause * 1.5, 1000)) {
    await scheduler.wait(pause)
    const job = await replicate.get(ctx.env, jobId)
    if (job.status !== 'running' || Date.now() - started > PATIENCE) return job
  }
}

/** Gives the lease back and asks to be woken. */
const release = async (
  ctx: JobCtx,
  claim: Claim,
  delaySeconds: number,
  changes: Partial<Pick<Generation, 'progress' | 'outputAttempts'>> = {},
): Promise<void> => {
  const { events } = await transact(ctx, (db) => ({
    released: db
      .update(generations)
      .set({ leaseExpiresAt: sql`now()`, ...changes })
      .where(fenced(claim)),
    patience: wakeAfter(db, claim.id, sql`make_interval(secs => ${delaySeconds + 30})`),
    events: newEvents(db, claim.id),
  }))
  await announce(ctx, ctx.workspaceId, events)
  await dispatch(
    ctx,
    [{ kind: 'generation', workspaceId: ctx.workspaceId, subjectId: claim.id }],
    delaySeconds,
  )
}

/** Copies the outputs to storage under the keys that the job has had from the start, then settles. */
const finish = async (
  ctx: JobCtx,
  claim: Claim,
  job: Extract<Job, { status: 'succeeded' }>,
): Promise<void> => {
  const stored: StoredOutput[] = []
  let lost = false
  for (const [index, url] of job.outputs.slice(0, claim.count).entries()) {
    const assetId = claim.outputAssetIds[index] as string
    try {
      stored.push({ index, assetId, object: await copyOutput(ctx, url, assetId, outputName(claim, index)) })
    } catch (error) {
      if (error instanceof AppError && error.code === 'unavailable') throw error
      ctx.log({
        level: 'warn',
        message: 'output not copied',
        generationId: claim.id,
        index,
        error: describeError(error),
      })
      lost = true
    }
  }
  // What broke may work in a moment; what never does is not charged.
  const attempts = claim.outputAttempts + 1
  if (lost && attempts < MAX_OUTPUT_ATTEMPTS)
    return release(ctx, claim, 2 ** attempts, { outputAttempts: attempts })
  if (stored.length > 0) return succeed(ctx, claim, stored)
  await fail(ctx, claim, {
    code: 'no_output',
    message: 'The model returned no usable output.',
    retryable: true,
  })
}

const outputName = (claim: Claim, index: number) =>
  `${[claim.style, claim.kind, claim.id.slice(-6), index + 1].filter(Boolean).join('-')}`

const copyOutput = async (ctx: JobCtx, url: string, assetId: string, name: string): Promise<StoredObject> => {
  const abort = new AbortController()
  const giveUp = () => abort.abort(new Error('the output stalled'))
  let timer = setTimeout(giveUp, STALL_TIMEOUT)
  try {
    const response = await fetch(url, { signal: abort.signal })
    const { body } = response
    if (!response.ok || !body) throw new Error(`output answered ${response.status}`)
    const watched = async function* () {
      for await (const chunk of readChunks(body)) {
        clearTimeout(timer)
        yield chunk
        timer = setTimeout(giveUp, STALL_TIMEOUT)
      }
    }
    return await putObject(ctx.env, { workspaceId: ctx.workspaceId, assetId, name }, watched(), MAX_UPLOAD)
  } finally {
    clearTimeout(timer)
    abort.abort()
  }
}

/** Refuses the transaction if another claim, or a cancellation, came in between. */
const holdsFence = (db: Database, claim: Claim) =>
  require(db, sql`exists (select from generations where ${fenced(claim)} for update)`, 'already_finished')

const succeed = async (ctx: JobCtx, claim: Claim, outputs: StoredOutput[]): Promise<void> => {
  const charged = Math.ceil((claim.creditsReserved * outputs.length) / claim.count)
  const { events } = await transact({ ...ctx, action: 'generation.succeed' }, (db) => ({
    fence: holdsFence(db, claim),
    succeeded: db
      .update(generations)
      .set({
        status: 'succeeded',
        progress: 100,
        creditsCharged: charged,
        completedAt: sql`now()`,
        leaseExpiresAt: null,
      })
      .where(fenced(claim)),
    assets: db.insert(assets).values(
      outputs.map(({ assetId, index, object }) => ({
        id: assetId,
        name: outputName(claim, index),
        ...object,
        source: 'generation' as const,
        status: 'ready' as const,
        createdBy: claim.createdBy,
      })),
    ),
    outputs: db
      .insert(generationOutputs)
      .values(outputs.map(({ assetId, index }) => ({ generationId: claim.id, index, assetId }))),
    charged: settleCredits(db, claim.id, charged),
    settled: settle(db, 'generation', claim.id),
    events: newEvents(db, claim.id),
  }))
  await announce(ctx, ctx.workspaceId, events)
}

const fail = async (ctx: JobCtx, claim: Claim, error: GenerationError): Promise<void> => {
  const { events } = await transact({ ...ctx, action: 'generation.fail' }, (db) => ({
    fence: holdsFence(db, claim),
    failed: db
      .update(generations)
      .set({ status: 'failed', error, completedAt: sql`now()`, leaseExpiresAt: null })
      .where(fenced(claim)),
    refunded: settleCredits(db, claim.id, 0),
    settled: settle(db, 'generation', claim.id),
    ...eraseOutputs(db, claim),
    events: newEvents(db, claim.id),
  }))
  await announce(ctx, ctx.workspaceId, events)
}

/** Notes to delete whatever a step may have stored for a job that ends without outputs. */
const eraseOutputs = (db: Database, claim: Pick<Claim, 'outputAssetIds'>) =>
  Object.fromEntries(
    claim.outputAssetIds.map((assetId) => [
      assetId,
      owe(db, 'object.delete', assetId, sql`interval '2 minutes'`),
    ]),
  )

/** What a fault means for the job: nothing (it is somebody else's now), its end, another try, or the queue's retry. */
const recover = async (ctx: JobCtx, claim: Claim, thrown: unknown): Promise<void> => {
  if (toAppError(thrown).code === 'already_finished') return
  ctx.log({ level: 'warn', message: 'step failed', generationId: claim.id, error: describeError(thrown) })
  if (thrown instanceof ProviderError && !thrown.retryable) {
    return fail(ctx, claim, {
      code: 'provider_refused',
      message: 'The model refused the request.',
      retryable: false,
    })
  }
  if (!(thrown instanceof ProviderError || thrown instanceof AppError)) throw thrown
  const backoff = Math.min(2 ** claim.attempts, 60) * (0.75 + Math.random() / 2)
  const asked = thrown instanceof ProviderError ? thrown.retryAfter : undefined
  await release(ctx, claim, Math.min(Math.ceil(asked ?? backoff), 3600))
}

const toGenerationError = (message: string): GenerationError =>
  /nsfw|safety|sensitive|flagged/i.test(message)
    ? { code: 'content_rejected', message: 'The model rejected the content as unsafe.', retryable: false }
    : { code: 'provider_failed', message: `The model failed: ${message.slice(0, 300)}`, retryable: true }

/** Out of retries: the job ends as failed, unless somebody still works on it. */
export const abandon = async (ctx: JobCtx, id: string): Promise<void> => {
  const claim = await claimGeneration(ctx, id)
  if (!claim) return
  await fail(ctx, claim, {
    code: 'internal_error',
    message: 'The job could not be processed.',
    retryable: true,
  })
}

/** Tells the provider that a canceled job's result is not wanted. */
export const cancelPrediction = async (ctx: JobCtx, id: string): Promise<void> => {
  const {
    rows: [row],
  } = await transact(ctx, (db) => ({
    rows: db
      .select({ jobId: generations.providerJobId })
      .from(generations)
      .where(and(oneGeneration(id), eq(generations.status, 'canceled'))),
  }))
  if (row?.jobId) {
    try {
      await replicate.cancel(ctx.env, row.jobId)
    } catch (error) {
      if (!(error instanceof ProviderError) || error.retryable) throw error
    }
  }
  await transact(ctx, (db) => ({ settled: settle(db, 'prediction.cancel', id) }))
}
