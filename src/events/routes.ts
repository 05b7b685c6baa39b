/** The routes of live progress (server-sent events). */
import { z } from 'zod'
import { IdPath } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { createRouter } from '../http/router.ts'
import { streamEvents } from './stream.ts'

const tag = 'Generations'

const eventStream = {
  200: {
    description:
      'Server-sent events: `queued`, `running`, `progress`, `provider.switched`, `succeeded`, `failed`, `canceled`',
    content: { 'text/event-stream': { schema: z.string() } },
  },
  204: { description: 'Nothing more will come: the last event was the one named in Last-Event-ID' },
}
const lastEventId = z.object({
  'last-event-id': z
    .string()
    .regex(/^\d{1,15}$/)
    .optional(),
})

export const routes = createRouter()

routes.openapi(
  operation('generation.events', {
    method: 'get',
    path: '/generations/{id}/events',
    tag,
    summary: 'Progress of one generation, live, until its last event',
    request: { params: IdPath, headers: lastEventId },
    responses: eventStream,
  }),
  async (c) =>
    eventResponse(
      await streamEvents(c.get('ctx'), {
        generationId: c.req.valid('param').id,
        lastEventId: parseEventId(c.req.valid('header')['last-event-id']),
      }),
    ),
)

routes.openapi(
  operation('event.list', {
    method: 'get',
    path: '/events',
    tag,
    summary: 'Progress of all generations of the workspace, live',
    request: { headers: lastEventId },
    responses: eventStream,
  }),
  async (c) =>
    eventResponse(
      await streamEvents(c.get('ctx'), { lastEventId: parseEventId(c.req.valid('header')['last-event-id']) }),
    ),
)

/** The contract's types know JSON and text only, hence `never`. */
const eventResponse = (stream: ReadableStream<Uint8Array> | undefined) =>
  (stream === undefined
    ? new Response(null, { status: 204 })
    : new Response(stream, {
        headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' },
      })) as never

const parseEventId = (value: string | undefined) => (value === undefined ? undefined : Number(value))
