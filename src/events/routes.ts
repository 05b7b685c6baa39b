/** The routes of live progress (server-sent events). */
import { z } from 'zod'
import { IdPath, Timestamp } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { createRouter } from '../http/router.ts'
import { eventTypes, generationPhases, generationStatuses } from '../words.ts'
import { streamEvents } from './stream.ts'

const tag = 'Generations'

const EventView = z
  .object({
    generationId: z.uuid(),
    status: z.enum(generationStatuses),
    phase: z.enum(generationPhases).optional().describe('Of an open job'),
    progress: z.int().min(0).max(100).describe('Percent'),
    eta: z
      .object({ p50: Timestamp, p90: Timestamp })
      .optional()
      .describe('When it will have ended in one case of two, and in nine of ten'),
    at: Timestamp,
  })
  .openapi('GenerationEvent', {
    example: {
      generationId: '0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11',
      status: 'running',
      phase: 'running',
      progress: 40,
      at: '2026-01-31T12:00:03.000Z',
    },
  })

const eventStream = {
  200: {
    description: `Server-sent events, whose \`event\` is one of ${eventTypes.map((type) => `\`${type}\``).join(', ')}, whose \`id\` is a number for \`Last-Event-ID\`, and whose \`data\` is a GenerationEvent as JSON. Comments keep the stream open.`,
    content: {
      'text/event-stream': {
        // To generators a text: OpenAPI 3.1 has no word for a stream.
        schema: {
          type: 'string' as const,
          contentMediaType: 'text/event-stream',
          contentSchema: { $ref: '#/components/schemas/GenerationEvent' },
        },
      },
    },
  },
  204: { description: 'Nothing more will come: the last event was the one named in Last-Event-ID' },
}
const lastEventId = z.object({
  'last-event-id': z
    .string()
    .regex(/^\d{1,15}$/)
    .optional()
    .describe(
      'The last event that arrived: the stream goes on after it; one that is not there yet counts as none',
    ),
})

export const routes = createRouter()
routes.openAPIRegistry.register('GenerationEvent', EventView)

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
