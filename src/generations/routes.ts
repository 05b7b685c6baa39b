/** The generation routes. */
import type { Context } from 'hono'
import { z } from 'zod'
import type { Asset } from '../assets/assets.ts'
import { presignShown } from '../assets/presign.ts'
import { AssetView, exampleAsset, presentAsset } from '../assets/routes.ts'
import type { Env } from '../env.ts'
import { IdempotencyKey, IdPath, json, jsonBody, replayable, Timestamp, text } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { ErrorCodeView } from '../http/problems.ts'
import { type AppEnv, createRouter } from '../http/router.ts'
import { idempotencyOf } from '../idempotency.ts'
import {
  aspectRatios,
  fixers,
  generationKinds,
  generationPhases,
  generationStatuses,
  phaseOf,
  styles,
  tasks,
} from '../words.ts'
import { createGeneration, type GenerationRequest, quoteGeneration, retryGeneration } from './accept.ts'
import { etaOf, progressByTime } from './estimates.ts'
import {
  cancelGeneration,
  type GenerationWithOutputs,
  getGeneration,
  listGenerations,
  MAX_POSITION,
} from './generations.ts'

const tag = 'Generations'

const GenerationInput = z
  .strictObject({
    task: z.enum(tasks),
    model: z
      .string()
      .max(100)
      .optional()
      .openapi({ description: "From the catalogue; default the task's first" }),
    inputAssetIds: z
      .array(z.uuid().toLowerCase())
      .max(20)
      .default([])
      .refine((ids) => new Set(ids).size === ids.length, 'names an asset twice')
      .describe('As many as the model takes: `GET /models`'),
    prompt: text({ max: 2000 }).optional().openapi({ description: 'An instruction' }),
    text: text({ max: 200 })
      .optional()
      .openapi({ description: 'Lettering for the picture, where the model can' }),
    style: z.enum(styles).optional(),
    count: z.int().min(1).max(10).default(1),
    aspectRatio: z
      .enum(aspectRatios)
      .optional()
      .openapi({ description: 'Default: square, or as the photo is' }),
    seed: z.int().min(0).max(2147483647).optional(),
    durationSeconds: z.int().min(1).max(60).optional().openapi({ description: 'Of films' }),
    maxCredits: z.int().min(0).optional().openapi({ description: 'Refused if it costs more' }),
    webhookUrl: text({ max: 2000 })
      .optional()
      .openapi({ description: 'Told of the end; https, a public host' }),
  })
  .openapi('GenerationInput')

const exampleInput: z.input<typeof GenerationInput> = {
  task: 'scene',
  prompt: 'On a breakfast table by the window',
  style: 'luxury',
  inputAssetIds: ['0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11'],
}

/** What was left out is for the model to choose. */
const toRequest = (input: z.output<typeof GenerationInput>): GenerationRequest => ({
  ...input,
  prompt: input.prompt ?? null,
  text: input.text ?? null,
  style: input.style ?? null,
  aspectRatio: input.aspectRatio ?? null,
  seed: input.seed ?? null,
  durationSeconds: input.durationSeconds ?? null,
  webhookUrl: input.webhookUrl ?? null,
})

/** Without one of its own an output would have an asset's, which has no URL. */
const exampleOutput = {
  ...exampleAsset,
  name: 'scene-1.png',
  mimeType: 'image/png',
  source: 'generation',
  url: 'https://storage.example.com/merchant-assets/workspaces/0198c1dd-2b84-7d10-8f6e-5c1d3e9a4b02/0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11?X-Amz-Expires=900',
  urlExpiresAt: '2026-01-31T12:15:00.000Z',
}

const GenerationView = z
  .object({
    id: z.uuid(),
    workspaceId: z.uuid(),
    task: z.enum(tasks),
    kind: z.enum(generationKinds),
    status: z.enum(generationStatuses),
    model: z.string(),
    prompt: z.string().nullable(),
    text: z.string().nullable(),
    style: z.enum(styles).nullable(),
    inputAssetIds: z.array(z.uuid()),
    count: z.int(),
    aspectRatio: z.enum(aspectRatios).nullable(),
    seed: z.int().nullable(),
    durationSeconds: z.int().nullable(),
    retryOf: z.uuid().nullable(),
    phase: z
      .enum(generationPhases)
      .optional()
      .describe(
        "Of an open job: in the workspace's line, in the provider's, waiting for the model to start, being made, or with results on their way to storage",
      ),
    queuePosition: z
      .int()
      .nullable()
      .describe(`Jobs of the workspace before this one, counted to ${MAX_POSITION}; null once it runs`),
    progress: z
      .int()
      .min(0)
      .max(100)
      .describe('Percent; by the time that others took, where the model says nothing'),
    eta: z
      .object({ p50: Timestamp, p90: Timestamp })
      .optional()
      .describe(
        'When an open job will have ended in one case of two, and in nine of ten, if enough others have been measured',
      ),
    attempts: z.int().describe('Submissions to providers'),
    outputs: z.array(
      AssetView.extend({
        url: z.url().describe('For ten minutes at a time the same, so that it can be cached'),
        urlExpiresAt: Timestamp.describe('At least five minutes from now'),
      }).openapi({ example: exampleOutput }),
    ),
    error: z
      .object({
        code: z.string(),
        message: z.string(),
        retryable: z.boolean(),
        whoFixes: z.enum(fixers),
      })
      .optional(),
    creditsReserved: z.int(),
    creditsCharged: z.int(),
    createdBy: z.uuid().nullable(),
    createdAt: Timestamp,
    startedAt: Timestamp.nullable(),
    completedAt: Timestamp.nullable(),
  })
  .openapi('Generation')

const presignOutput = async (env: Env, asset: Asset) => {
  const { url, expiresAt } = await presignShown(env, asset)
  return { url, urlExpiresAt: expiresAt }
}

const present = async (env: Env, row: GenerationWithOutputs): Promise<z.output<typeof GenerationView>> => ({
  id: row.id,
  workspaceId: row.workspaceId,
  task: row.task,
  kind: row.kind,
  status: row.status,
  model: row.model,
  prompt: row.prompt,
  text: row.text,
  style: row.style,
  inputAssetIds: row.inputAssetIds,
  count: row.count,
  aspectRatio: row.aspectRatio,
  seed: row.seed,
  durationSeconds: row.duration,
  retryOf: row.retryOf,
  phase: phaseOf(row.status, row.phase),
  queuePosition: row.position,
  progress: row.status === 'running' ? Math.max(row.progress, progressByTime(row)) : row.progress,
  eta: etaOf(row),
  attempts: row.attempts,
  outputs: await Promise.all(
    row.outputs.map(async (asset) => ({
      ...presentAsset(asset),
      ...(await presignOutput(env, asset)),
    })),
  ),
  ...(row.error && { error: row.error }),
  creditsReserved: row.creditsReserved,
  creditsCharged: row.creditsCharged,
  createdBy: row.createdBy,
  createdAt: row.createdAt.toISOString(),
  startedAt: row.startedAt?.toISOString() ?? null,
  completedAt: row.completedAt?.toISOString() ?? null,
})

export const routes = createRouter()

routes.openapi(
  operation('generation.create', {
    method: 'post',
    path: '/generations',
    tag,
    summary: 'Have images or a video generated',
    description:
      'Accepted as a job. With an `Idempotency-Key` the same request of the same caller twice is one job, answered as at first.',
    role: 'member',
    limits: ['generation'],
    request: {
      headers: IdempotencyKey,
      ...jsonBody(GenerationInput, exampleInput),
    },
    responses: {
      202: {
        ...json(GenerationView, 'The job'),
        headers: replayable,
      },
    },
    refuses: [
      'insufficient_credits',
      'free_credits_paused',
      'storage_quota_exceeded',
      'plan_limit_reached',
      'idempotency_key_reused',
    ],
  }),
  async (c) => {
    const key = c.req.valid('header')['idempotency-key']
    const idempotency = idempotencyOf(key, 'create', await c.req.json())
    return accepted(c, await createGeneration(c.get('ctx'), toRequest(c.req.valid('json')), idempotency))
  },
)

const Expectation = z
  .object({ p50: z.int(), p95: z.int() })
  .optional()
  .describe('Seconds, not exceeded in 50 and in 95 % of cases; absent while too few have been measured')

routes.openapi(
  operation('generation.quote', {
    method: 'post',
    path: '/generations/quote',
    tag,
    summary: 'What a request would cost, and when it would be done; nothing happens',
    role: 'member',
    request: jsonBody(GenerationInput, exampleInput),
    responses: {
      200: json(
        z
          .object({
            model: z.string(),
            credits: z.int(),
            remainingAfter: z
              .int()
              .nullable()
              .describe('Credits of this month; negative: so many are missing; null: unlimited'),
            accepted: z.boolean().describe('Whether it would be now'),
            problem: z
              .object({
                code: ErrorCodeView,
                detail: z.string(),
                errors: z.array(z.object({ pointer: z.string(), message: z.string() })).optional(),
              })
              .optional()
              .describe('Why it would not'),
            startsIn: Expectation,
            finishesIn: Expectation,
          })
          .openapi('Quote'),
        'The quote',
      ),
    },
  }),
  async (c) => {
    const { problem, ...quote } = await quoteGeneration(c.get('ctx'), toRequest(c.req.valid('json')))
    return c.json(
      {
        ...quote,
        accepted: problem === undefined,
        problem: problem && { code: problem.code, detail: problem.message, errors: problem.errors },
      },
      200,
    )
  },
)

routes.openapi(
  operation('generation.list', {
    method: 'get',
    path: '/generations',
    tag,
    summary: 'Generations, newest first',
    request: {
      query: Paging.extend({
        status: z.enum(generationStatuses).optional(),
        kind: z.enum(generationKinds).optional(),
        task: z.enum(tasks).optional(),
        since: Timestamp.optional(),
        until: Timestamp.optional(),
      }),
    },
    responses: { 200: json(listOf(GenerationView), 'A page of generations') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    const { data, nextCursor } = toPage(await listGenerations(c.get('ctx'), query), query.limit, (row) => row)
    return c.json({ data: await Promise.all(data.map((row) => present(c.get('env'), row))), nextCursor }, 200)
  },
)

routes.openapi(
  operation('generation.get', {
    method: 'get',
    path: '/generations/{id}',
    tag,
    summary: 'One generation, with its outputs',
    request: { params: IdPath },
    responses: { 200: json(GenerationView, 'The generation') },
  }),
  async (c) =>
    c.json(await present(c.get('env'), await getGeneration(c.get('ctx'), c.req.valid('param').id)), 200),
)

routes.openapi(
  operation('generation.cancel', {
    method: 'post',
    path: '/generations/{id}/cancel',
    tag,
    summary: 'Stop a job and get its credits back',
    role: 'member',
    request: { params: IdPath },
    responses: { 200: json(GenerationView, 'The generation') },
    refuses: ['already_finished'],
  }),
  async (c) =>
    c.json(await present(c.get('env'), await cancelGeneration(c.get('ctx'), c.req.valid('param').id)), 200),
)

routes.openapi(
  operation('generation.retry', {
    method: 'post',
    path: '/generations/{id}/retry',
    tag,
    summary: 'The same again, of what failed or was canceled',
    role: 'member',
    limits: ['generation'],
    request: { params: IdPath, headers: IdempotencyKey },
    responses: { 202: { ...json(GenerationView, 'The new job'), headers: replayable } },
    refuses: [
      'insufficient_credits',
      'free_credits_paused',
      'storage_quota_exceeded',
      'plan_limit_reached',
      'not_retryable',
      'idempotency_key_reused',
    ],
  }),
  async (c) => {
    const key = c.req.valid('header')['idempotency-key']
    const { id } = c.req.valid('param')
    const idempotency = idempotencyOf(key, 'retry', id)
    return accepted(c, await retryGeneration(c.get('ctx'), id, idempotency))
  },
)

const accepted = async (
  c: Context<AppEnv>,
  { generation, replayed }: { generation: GenerationWithOutputs; replayed: boolean },
) => {
  c.header('location', `/api/v1/generations/${generation.id}`)
  if (replayed) c.header('idempotent-replayed', 'true')
  return c.json(await present(c.get('env'), generation), 202)
}
