/** The routes of usage and credits. */
import { z } from 'zod'
import { json, Timestamp } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
import { creditKinds, freeCreditStates, plans } from '../words.ts'
import { type CreditEntry, getUsage, listEntries } from './ledger.ts'

const tag = 'Credits'

const UsageView = z
  .object({
    plan: z.enum(plans),
    credits: z.object({
      granted: z
        .int()
        .nullable()
        .describe(
          'Per calendar month; null is unlimited. Free ones without what was used of them in another workspace',
        ),
      reserved: z.int(),
      charged: z.int(),
      remaining: z.int().nullable(),
      renewsAt: Timestamp,
      free: z
        .object({ state: z.enum(freeCreditStates) })
        .nullable()
        .describe(
          [
            'Of a free workspace, whether it has the free credits, which a person gets once: `granted`; `held`: they',
            'looked farmed, ask us; `waiting`: they come with the first job that its owner asks for, signed in;',
            '`elsewhere`: its owners have them in another workspace; `unverified`: no owner has proved an e-mail address',
          ].join(' '),
        ),
    }),
    storage: z.object({
      used: z.int().describe('Bytes'),
      copies: z.int().describe('Bytes of sized copies, which the quota does not count'),
      quota: z.int().describe('Bytes'),
    }),
  })
  .openapi('Usage')

const CreditEntryView = z
  .object({
    id: z.uuid(),
    generationId: z.uuid(),
    kind: z.enum(creditKinds),
    credits: z.int(),
    period: z.iso.date().describe('The month that pays, by its first day'),
    createdAt: Timestamp,
  })
  .openapi('CreditEntry')

const presentEntry = (row: CreditEntry): z.output<typeof CreditEntryView> => ({
  id: row.id,
  generationId: row.generationId,
  kind: row.kind,
  credits: row.credits,
  period: row.period,
  createdAt: row.createdAt.toISOString(),
})

export const routes = createRouter()

routes.openapi(
  operation('usage.get', {
    method: 'get',
    path: '/usage',
    tag,
    summary: 'Plan, credits of this month and storage',
    responses: { 200: json(UsageView, 'The usage') },
  }),
  async (c) => c.json(await getUsage(c.get('ctx')), 200),
)

routes.openapi(
  operation('credit.list', {
    method: 'get',
    path: '/credits/ledger',
    tag,
    summary: 'Reservations, charges and refunds, newest first',
    request: { query: Paging },
    responses: { 200: json(listOf(CreditEntryView), 'A page of entries') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listEntries(c.get('ctx'), query), query.limit, presentEntry), 200)
  },
)
