/** What a workspace may use and has used. */
import { z } from 'zod'
import { creditKinds, plans } from '../db/schema.ts'
import {
  createRoute,
  createRouter,
  json,
  listOf,
  operation,
  Paging,
  problemsOf,
  Timestamp,
  toPage,
} from '../http.ts'
import { getUsage, listEntries } from './ledger.ts'

const tag = 'Credits'

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
  ...operation('usage.get', { tag, summary: 'Plan, credits of this month and storage' }),
  responses: { 200: json(Usage, 'The usage'), ...problemsOf('workspace_required', 'not_found') },
})

const CreditEntry = z
  .object({
    id: z.uuid(),
    generationId: z.uuid(),
    kind: z.enum(creditKinds),
    credits: z.int(),
    period: z.iso.date().describe('The month that pays, by its first day'),
    createdAt: Timestamp,
  })
  .openapi('CreditEntry')

const ledgerRoute = createRoute({
  method: 'get',
  path: '/credits/ledger',
  ...operation('credit.list', { tag, summary: 'Reservations, charges and refunds, newest first' }),
  request: { query: Paging },
  responses: {
    200: json(listOf(CreditEntry), 'A page of entries'),
    ...problemsOf('workspace_required', 'not_found'),
  },
})

export const creditRoutes = createRouter()
  .openapi(getUsageRoute, async (c) => c.json(await getUsage(c.var.ctx), 200))
  .openapi(ledgerRoute, async (c) => {
    const query = c.req.valid('query')
    const page = toPage(await listEntries(c.var.ctx, query), query.limit, (row) => ({
      id: row.id,
      generationId: row.generationId,
      kind: row.kind,
      credits: row.credits,
      period: row.period,
      createdAt: row.createdAt.toISOString(),
    }))
    return c.json(page, 200)
  })
