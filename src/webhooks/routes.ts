/** The routes of webhooks: endpoints and deliveries. */
import { z } from 'zod'
import { IdPath, json, jsonBody, located, someOf, Timestamp, text } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
import { deliveryStatuses, eventTypes, generationStatuses } from '../words.ts'
import { getSigningSecret } from './deliveries.ts'
import {
  createEndpoint,
  type Delivery,
  deleteEndpoint,
  type Endpoint,
  listDeliveries,
  listEndpoints,
  resendDelivery,
  updateEndpoint,
} from './endpoints.ts'

const tag = 'Webhooks'
const role = 'admin'

const url = text({ max: 2000 })
const events = z.array(z.enum(eventTypes)).max(eventTypes.length).describe('Empty means all but `progress`')

const EndpointView = z
  .object({
    id: z.uuid(),
    url: z.string(),
    events,
    enabled: z.boolean(),
    failingSince: Timestamp.nullable(),
    createdBy: z.uuid().nullable(),
    createdAt: Timestamp,
  })
  .openapi('WebhookEndpoint')

const presentEndpoint = (row: Endpoint): z.output<typeof EndpointView> => ({
  id: row.id,
  url: row.url,
  // `as`: an array of plain text in the schema, written from this very list.
  events: row.events as z.output<typeof events>,
  enabled: row.disabledAt === null,
  failingSince: row.failingSince?.toISOString() ?? null,
  createdBy: row.createdBy,
  createdAt: row.createdAt.toISOString(),
})

const MessageView = z
  .object({
    type: z.enum(eventTypes.map((type) => `generation.${type}` as const)),
    timestamp: Timestamp,
    data: z.object({
      generationId: z.uuid(),
      status: z.enum(generationStatuses),
      progress: z.int().describe('Percent'),
      at: Timestamp,
    }),
  })
  .openapi('WebhookMessage', {
    example: {
      type: 'generation.succeeded',
      timestamp: '2026-01-31T12:00:09.000Z',
      data: {
        generationId: '0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11',
        status: 'succeeded',
        progress: 100,
        at: '2026-01-31T12:00:09.000Z',
      },
    },
  })

const DeliveryView = z
  .object({
    id: z.uuid().describe('Sent as `webhook-id`'),
    endpointId: z.uuid().nullable().describe("Null for a generation's own URL"),
    url: z.string(),
    payload: MessageView,
    status: z.enum(deliveryStatuses),
    attempts: z.int().describe('With those that were put off, since the target had not answered lately'),
    responseStatus: z.int().nullable(),
    error: z.string().nullable(),
    createdAt: Timestamp,
    deliveredAt: Timestamp.nullable(),
  })
  .openapi('WebhookDelivery')

const presentDelivery = (row: Delivery): z.output<typeof DeliveryView> => ({
  id: row.id,
  endpointId: row.endpointId,
  url: row.url,
  // `as`: JSON in the schema, written by a trigger in this form.
  payload: row.payload as z.output<typeof DeliveryView>['payload'],
  status: row.status,
  attempts: row.attempts,
  responseStatus: row.responseStatus,
  error: row.error,
  createdAt: row.createdAt.toISOString(),
  deliveredAt: row.deliveredAt?.toISOString() ?? null,
})

export const routes = createRouter()

/** By Standard Webhooks: tells nothing that `GET /generations/{id}` does not tell, so it may be lost or come twice. */
routes.openAPIRegistry.registerWebhook({
  method: 'post',
  path: 'generation',
  operationId: 'webhook.message',
  tags: [tag],
  security: [],
  summary: 'What endpoints, and the `webhookUrl` of a generation, are sent',
  description:
    'Signed by Standard Webhooks: verify the body as it came, before it is parsed. Answer 2xx within 10 seconds; it may come twice.',
  request: {
    headers: z.object({
      'webhook-id': z.uuid().describe('The same when it comes twice'),
      'webhook-timestamp': z.string().describe('Seconds since 1970'),
      'webhook-signature': z.string().describe('`v1,` and an HMAC-SHA256 in base64, or several of them'),
    }),
    body: { required: true, content: { 'application/json': { schema: MessageView } } },
  },
  responses: {
    204: { description: 'Taken' },
    410: { description: 'Wanted no more: the endpoint is disabled' },
  },
})

routes.openapi(
  operation('webhook.create', {
    method: 'post',
    path: '/webhooks',
    tag,
    summary: 'Register a URL for events of generations; the secret is shown once',
    role,
    request: jsonBody(z.strictObject({ url, events: events.default([]) }), {
      url: 'https://shop.example.com/hooks',
      events: ['succeeded', 'failed'],
    }),
    responses: {
      201: { ...json(EndpointView.extend({ secret: z.string() }), 'The endpoint'), headers: located },
    },
    refuses: ['plan_limit_reached'],
  }),
  async (c) => {
    const row = await createEndpoint(c.get('ctx'), c.req.valid('json'))
    c.header('cache-control', 'no-store')
    c.header('location', `/api/v1/webhooks/${row.id}`)
    return c.json({ ...presentEndpoint(row), secret: row.secret }, 201)
  },
)

routes.openapi(
  operation('webhook.list', {
    method: 'get',
    path: '/webhooks',
    tag,
    summary: 'Endpoints, newest first',
    role,
    request: { query: Paging },
    responses: { 200: json(listOf(EndpointView), 'A page of endpoints') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listEndpoints(c.get('ctx'), query), query.limit, presentEndpoint), 200)
  },
)

routes.openapi(
  operation('webhook.update', {
    method: 'patch',
    path: '/webhooks/{id}',
    tag,
    summary: 'Change, disable or enable an endpoint',
    role,
    request: {
      params: IdPath,
      ...jsonBody(someOf({ url, events, enabled: z.boolean() }), { enabled: false }),
    },
    responses: { 200: json(EndpointView, 'The endpoint') },
  }),
  async (c) =>
    c.json(
      presentEndpoint(await updateEndpoint(c.get('ctx'), c.req.valid('param').id, c.req.valid('json'))),
      200,
    ),
)

routes.openapi(
  operation('webhook.delete', {
    method: 'delete',
    path: '/webhooks/{id}',
    tag,
    summary: 'Delete an endpoint and its deliveries',
    role,
    request: { params: IdPath },
    responses: { 204: { description: 'Deleted' } },
  }),
  async (c) => {
    await deleteEndpoint(c.get('ctx'), c.req.valid('param').id)
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('delivery.list', {
    method: 'get',
    path: '/webhooks/deliveries',
    tag,
    summary: 'Deliveries, newest first',
    role,
    request: {
      query: Paging.extend({ endpointId: z.uuid().optional(), status: z.enum(deliveryStatuses).optional() }),
    },
    responses: { 200: json(listOf(DeliveryView), 'A page of deliveries') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listDeliveries(c.get('ctx'), query), query.limit, presentDelivery), 200)
  },
)

routes.openapi(
  operation('delivery.resend', {
    method: 'post',
    path: '/webhooks/deliveries/{id}/resend',
    tag,
    summary: 'Send a delivery again',
    role,
    request: { params: IdPath },
    responses: { 202: json(DeliveryView, 'The delivery') },
    refuses: ['endpoint_disabled'],
  }),
  async (c) => c.json(presentDelivery(await resendDelivery(c.get('ctx'), c.req.valid('param').id)), 202),
)

routes.openapi(
  operation('webhook.secret', {
    method: 'get',
    path: '/webhooks/signing-secret',
    tag,
    summary: "The secret that signs what goes to a generation's own `webhookUrl`",
    role,
    responses: { 200: json(z.object({ secret: z.string() }), 'The secret') },
  }),
  async (c) => {
    c.header('cache-control', 'no-store')
    return c.json({ secret: await getSigningSecret(c.get('ctx')) }, 200)
  },
)
