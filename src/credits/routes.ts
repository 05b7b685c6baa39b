/** What a workspace may use and has used. */
import { z } from 'zod'
import { plans } from '../db/schema.ts'
import { createRoute, createRouter, json, operation, problemsOf, Timestamp } from '../http.ts'
import { getUsage } from './ledger.ts'

const Usage = z
  .object({
    plan: z.enum(plans),
    credits: z.object({
      granted: z.int().nullable().describe('Per calendar month; null is unlimited'),
      reserved: z.int(),
      charged: z.int(),
      remaining: z.int().nullable(),
      renewsAt: Timestamp,
    }),
    storage: z.object({ used: z.int().describe('Bytes'), quota: z.int().describe('Bytes') }),
  })
  .openapi('Usage')

const getUsageRoute = createRoute({
  method: 'get',
  path: '/usage',
  ...operation('usage.get', { tag: 'Credits', summary: 'Plan, credits of this month and storage' }),
  responses: { 200: json(Usage, 'The usage'), ...problemsOf('workspace_required', 'not_found') },
})

export const creditRoutes = createRouter().openapi(getUsageRoute, async (c) =>
  c.json(await getUsage(c.var.ctx), 200),
)
