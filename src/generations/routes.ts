/** The generation routes. */
import type { Context } from 'hono'
import { z } from 'zod'
import { AssetView, presentAsset } from '../assets/routes.ts'
import { presignDownload } from '../assets/storage.ts'
import { authorize } from '../db/client.ts'
import type { Env } from '../env.ts'
import { IdempotencyKey, IdPath, json, jsonBody, located, Timestamp, text } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { type AppEnv, createRouter } from '../http/router.ts'
import { aspectRatios, generationKinds, generationPhases, generationStatuses, styles } from '../words.ts'
import { createGeneration, retryGeneration } from './accept.ts'
import {
  cancelGeneration,
  type GenerationWithOutputs,
  getGeneration,
  listGenerations,
  MAX_POSITION,
} from './generations.ts'
import { hashRequest } from './idempotency.ts'
import { models } from './models.ts'

const tag = 'Generations'

const GenerationInput = z
  .strictObject({
    kind: z.enum(generationKinds),
    prompt: text({ max: 2000 }).optional(),
    style: z.enum(styles).optional(),
    model: z
      .string()
      .max(100)
      .optional()
      .openapi({ description: "From the catalogue; default the kind's first" }),
    inputAssetIds: z
      .array(z.uuid().toLowerCase())
      .max(20)
      .default([])
      .refine((ids) => new Set(ids).size === ids.length, 'names an asset twice'),
    count: z.int().min(1).max(10).default(1),
    aspectRatio: z.enum(aspectRatios).default('1:1'),
    seed: z.int().min(0).max(2147483647).optional(),
    webhookUrl: text({ max: 2000 })
      .optional()
      .openapi({ description: 'Told of the end; https, a public host' }),
    durationSeconds: z.int().min(1).max(60).optional().openapi({ description: 'Videos only; default 5' }),
  })
  .refine(({ prompt, inputAssetIds }) => prompt !== undefined || inputAssetIds.length > 0, {
    path: ['prompt'],
    message: 'is needed, unless there are inputAssetIds',
  })
  .openapi('GenerationInput')

const GenerationView = z
  .object({
    id: z.uuid(),
    workspaceId: z.uuid(),
    kind: z.enum(generationKinds),
    status: z.enum(generationStatuses),
    model: z.string(),
    prompt: z.string().nullable(),
    style: z.enum(styles).nullable(),
    inputAssetIds: z.array(z.uuid()),
    count: z.int(),
    aspectRatio: z.enum(aspectRatios),
    seed: z.int().nullable(),
    durationSeconds: z.int().nullable(),
    retryOf: z.uuid().nullable(),
    phase: z
      .enum(generationPhases)
      .optional()
      .describe('Of an open job; `storing`: results are there and on their way to storage'),
    queuePosition: z
      .int()
      .nullable()
      .describe(`Jobs of the workspace before this one, counted to ${MAX_POSITION}; null once it runs`),
    progress: z.int().min(0).max(100),
    attempts: z.int().describe('Submissions to the provider'),
    outputs: z.array(AssetView.extend({ url: z.url().describe('Works for 5 minutes') })),
    error: z.object({ code: z.string(), message: z.string(), retryable: z.boolean() }).optional(),
    creditsReserved: z.int(),
    creditsCharged: z.int(),
    createdBy: z.uuid().nullable(),
    createdAt: Timestamp,
    startedAt: Timestamp.nullable(),
    completedAt: Timestamp.nullable(),
  })
  .openapi('Generation')

const phaseOf = ({
  status,
  resultsAt,
}: GenerationWithOutputs): Pick<z.output<typeof GenerationView>, 'phase'> => {
  if (status === 'queued') return { phase: 'plan_line' }
  return status === 'running' ? { phase: resultsAt ? 'storing' : 'running' } : {}
}

const present = async (env: Env, row: GenerationWithOutputs): Promise<z.output<typeof GenerationView>> => ({
  id: row.id,
  workspaceId: row.workspaceId,
  kind: row.kind,
  status: row.status,
  model: row.model,
  prompt: row.prompt,
  style: row.style,
  inputAssetIds: row.inputAssetIds,
  count: row.count,
  aspectRatio: row.aspectRatio,
  seed: row.seed,
  durationSeconds: row.duration,
  retryOf: row.retryOf,
  ...phaseOf(row),
  queuePosition: row.position,
  progress: row.progress,
  attempts: row.attempts,
  outputs: await Promise.all(
    row.outputs.map(async ({ asset }) => ({
      ...presentAsset(asset),
      url: await presignDownload(env, asset),
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

const acceptedHeaders = {
  ...located,
  'Idempotent-Replayed': { schema: { type: 'string' as const }, required: false },
}

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
      ...jsonBody(GenerationInput),
    },
    responses: {
      202: {
        ...json(GenerationView, 'The job'),
        headers: acceptedHeaders,
      },
    },
    refuses: [
      'insufficient_credits',
      'storage_quota_exceeded',
      'plan_limit_reached',
      'idempotency_key_reused',
    ],
  }),
  async (c) => {
    const key = c.req.valid('header')['idempotency-key']
    const idempotency = key ? { key, requestHash: hashRequest('create', await c.req.json()) } : undefined
    return accepted(c, await createGeneration(c.var.ctx, c.req.valid('json'), idempotency))
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
      }),
    },
    responses: { 200: json(listOf(GenerationView), 'A page of generations') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    const { data, nextCursor } = toPage(await listGenerations(c.var.ctx, query), query.limit, (row) => row)
    return c.json({ data: await Promise.all(data.map((row) => present(c.var.env, row))), nextCursor }, 200)
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
  async (c) => c.json(await present(c.var.env, await getGeneration(c.var.ctx, c.req.valid('param').id)), 200),
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
    c.json(await present(c.var.env, await cancelGeneration(c.var.ctx, c.req.valid('param').id)), 200),
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
    responses: { 202: { ...json(GenerationView, 'The new job'), headers: acceptedHeaders } },
    refuses: [
      'insufficient_credits',
      'storage_quota_exceeded',
      'plan_limit_reached',
      'not_retryable',
      'idempotency_key_reused',
    ],
  }),
  async (c) => {
    const key = c.req.valid('header')['idempotency-key']
    const { id } = c.req.valid('param')
    const idempotency = key ? { key, requestHash: hashRequest('retry', id) } : undefined
    return accepted(c, await retryGeneration(c.var.ctx, id, idempotency))
  },
)

routes.openapi(
  operation('model.list', {
    method: 'get',
    path: '/models',
    tag,
    summary: 'The catalogue of models',
    scope: 'user',
    responses: {
      200: json(
        z.object({
          data: z.array(
            z.object({
              id: z.string(),
              kind: z.enum(generationKinds),
              name: z.string(),
              credits: z.int().describe('Per generation'),
              inputs: z.object({
                maxCount: z.int(),
                maxInputAssets: z.int(),
                aspectRatios: z.array(z.enum(aspectRatios)),
                styles: z.array(z.enum(styles)),
                maxDuration: z.int().nullable().describe('Seconds; null for pictures'),
              }),
            }),
          ),
          nextCursor: z.null(),
        }),
        'All models',
      ),
    },
  }),
  async (c) => {
    await authorize(c.var.ctx)
    return c.json(
      {
        data: models.map(({ id, kind, name, credits, inputs }) => ({
          id,
          kind,
          name,
          credits,
          inputs: { ...inputs, aspectRatios: [...inputs.aspectRatios], styles: [...styles] },
        })),
        nextCursor: null,
      },
      200,
    )
  },
)

const accepted = async (
  c: Context<AppEnv>,
  { generation, replayed }: { generation: GenerationWithOutputs; replayed: boolean },
) => {
  c.header('location', `/api/v1/generations/${generation.id}`)
  if (replayed) c.header('idempotent-replayed', 'true')
  return c.json(await present(c.var.env, generation), 202)
}
