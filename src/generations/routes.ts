/** The generation routes. */
import type { Context } from 'hono'
import { z } from 'zod'
import { AssetView, presentAsset } from '../assets/routes.ts'
import { presignDownload } from '../assets/storage.ts'
import { authorize } from '../db/client.ts'
import { generationKinds, generationStatuses } from '../db/schema.ts'
import type { Env } from '../env.ts'
import {
  type AppEnv,
  createRoute,
  createRouter,
  IdPath,
  json,
  jsonBody,
  jsonProblems,
  listOf,
  operation,
  Paging,
  problemsOf,
  Timestamp,
  text,
  toPage,
} from '../http.ts'
import {
  cancelGeneration,
  createGeneration,
  type GenerationWithOutputs,
  getGeneration,
  listGenerations,
  retryGeneration,
} from './generations.ts'
import { aspectRatios, models } from './models.ts'
import { styles } from './styles.ts'

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
    webhookUrl: z
      .string()
      .max(2000)
      .optional()
      .openapi({ description: 'Told of the end; https, a public host' }),
    durationSeconds: z.int().min(1).max(60).optional().openapi({ description: 'Videos only; default 5' }),
  })
  .refine(({ prompt, inputAssetIds }) => prompt !== undefined || inputAssetIds.length > 0, {
    path: ['prompt'],
    message: 'or inputAssetIds is needed',
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
    queuePosition: z.int().nullable().describe('Jobs of the workspace before this one; null once it runs'),
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

const present = async (env: Env, row: GenerationWithOutputs): Promise<z.output<typeof GenerationView>> => ({
  id: row.id,
  workspaceId: row.workspaceId,
  kind: row.kind,
  status: row.status,
  model: row.model,
  prompt: row.prompt,
  style: row.style as z.output<typeof GenerationView>['style'],
  inputAssetIds: row.inputAssetIds,
  count: row.count,
  aspectRatio: row.aspectRatio as z.output<typeof GenerationView>['aspectRatio'],
  seed: row.seed,
  durationSeconds: row.duration,
  retryOf: row.retryOf,
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

const idempotencyKey = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/)
    .optional(),
})

const acceptedHeaders = {
  Location: { schema: { type: 'string' as const } },
  'Idempotent-Replayed': { schema: { type: 'string' as const }, required: false },
}

const createGenerationRoute = createRoute({
  method: 'post',
  path: '/generations',
  ...operation('generation.create', {
    tag,
    summary: 'Have images or a video generated',
    description: 'Accepted as a job. With an `Idempotency-Key` the same request twice is one job.',
    role: 'member',
    limits: ['generation'],
  }),
  request: {
    headers: z.object({
      'idempotency-key': z
        .string()
        .regex(/^[\x20-\x7e]{1,255}$/)
        .optional(),
    }),
    ...jsonBody(GenerationInput),
  },
  responses: {
    202: {
      ...json(GenerationView, 'The job'),
      headers: acceptedHeaders,
    },
    ...problemsOf(
      ...jsonProblems,
      'workspace_required',
      'insufficient_credits',
      'not_found',
      'idempotency_key_reused',
    ),
  },
})

const listRoute = createRoute({
  method: 'get',
  path: '/generations',
  ...operation('generation.list', { tag, summary: 'Generations, newest first' }),
  request: {
    query: Paging.extend({
      status: z.enum(generationStatuses).optional(),
      kind: z.enum(generationKinds).optional(),
    }),
  },
  responses: {
    200: json(listOf(GenerationView), 'A page of generations'),
    ...problemsOf('workspace_required', 'not_found'),
  },
})

const getRoute = createRoute({
  method: 'get',
  path: '/generations/{id}',
  ...operation('generation.get', { tag, summary: 'One generation, with its outputs' }),
  request: { params: IdPath },
  responses: {
    200: json(GenerationView, 'The generation'),
    ...problemsOf('workspace_required', 'not_found'),
  },
})

const cancelRoute = createRoute({
  method: 'post',
  path: '/generations/{id}/cancel',
  ...operation('generation.cancel', { tag, summary: 'Stop a job and get its credits back', role: 'member' }),
  request: { params: IdPath },
  responses: {
    200: json(GenerationView, 'The generation'),
    ...problemsOf(
      'workspace_required',
      'forbidden',
      'not_found',
      'already_finished',
      'unsupported_media_type',
    ),
  },
})

const retryRoute = createRoute({
  method: 'post',
  path: '/generations/{id}/retry',
  ...operation('generation.retry', {
    tag,
    summary: 'The same again, of what failed or was canceled',
    role: 'member',
    limits: ['generation'],
  }),
  request: { params: IdPath, headers: idempotencyKey },
  responses: {
    202: { ...json(GenerationView, 'The new job'), headers: acceptedHeaders },
    ...problemsOf(
      'workspace_required',
      'insufficient_credits',
      'not_found',
      'not_retryable',
      'unsupported_media_type',
      'idempotency_key_reused',
    ),
  },
})

const modelsRoute = createRoute({
  method: 'get',
  path: '/models',
  ...operation('model.list', { tag, summary: 'The catalogue of models', scope: 'user' }),
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
    ...problemsOf(),
  },
})

const accepted = async (
  c: Context<AppEnv>,
  { generation, replayed }: { generation: GenerationWithOutputs; replayed: boolean },
) => {
  c.header('location', `/api/v1/generations/${generation.id}`)
  if (replayed) c.header('idempotent-replayed', 'true')
  return c.json(await present(c.var.env, generation), 202)
}

export const generationRoutes = createRouter()
  .openapi(createGenerationRoute, async (c) => {
    const key = c.req.valid('header')['idempotency-key']
    return accepted(c, await createGeneration(c.var.ctx, c.req.valid('json'), key))
  })
  .openapi(retryRoute, async (c) => {
    const key = c.req.valid('header')['idempotency-key']
    return accepted(c, await retryGeneration(c.var.ctx, c.req.valid('param').id, key))
  })
  .openapi(listRoute, async (c) => {
    const query = c.req.valid('query')
    const { data, nextCursor } = toPage(await listGenerations(c.var.ctx, query), query.limit, (row) => row)
    return c.json({ data: await Promise.all(data.map((row) => present(c.var.env, row))), nextCursor }, 200)
  })
  .openapi(getRoute, async (c) =>
    c.json(await present(c.var.env, await getGeneration(c.var.ctx, c.req.valid('param').id)), 200),
  )
  .openapi(cancelRoute, async (c) =>
    c.json(await present(c.var.env, await cancelGeneration(c.var.ctx, c.req.valid('param').id)), 200),
  )
  .openapi(modelsRoute, async (c) => {
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
  })
